"""Options: their groups, where their values come from (flag, environment, YAML, preset), and their help."""
