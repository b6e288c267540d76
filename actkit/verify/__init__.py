"""Check that a run is whole and right: its files, its tables, and its numbers, which are computed again."""
