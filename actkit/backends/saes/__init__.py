"""Sparse autoencoders from outside: found, described, loaded and checked against their model."""
