"""Engines share a run out among workers, above the recipes: the pipeline knows of none of it."""
