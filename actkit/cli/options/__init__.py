"""Options: their groups, the sources of their values (flag, environment, YAML, preset), and their help."""
