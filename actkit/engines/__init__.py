"""Engines share a run out among workers. They stand above the recipes; the pipeline does not know them."""
