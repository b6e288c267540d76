"""Is a run whole and right: its files and tables, and its numbers computed again."""
