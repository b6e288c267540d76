"""Engines share a run out among workers. They import the recipes and the pipeline, which do not import them."""
