"""Compute records of a run again on the plain model, and compare them with the stored tables."""
