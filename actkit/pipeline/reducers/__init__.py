"""Reducers: functions that make rows of a table from the kept activations of a batch."""
