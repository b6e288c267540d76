"""input ─▶ tokens ─▶ shards ─▶ forward ─▶ reducers: a package a stage, and `extract` runs them into a run directory."""
