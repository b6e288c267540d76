"""Sparse autoencoders: find, load and describe them, and encode with them."""
