"""Reducers: what a batch kept becomes rows of a table."""
