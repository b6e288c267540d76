"""One module a subcommand: its options, and the call of its recipe or function."""
