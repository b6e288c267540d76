"""records ─▶ tokenize ─▶ plan ─▶ forward ─▶ reduce ─▶ sink: one file a stage, and `extract` runs them."""
