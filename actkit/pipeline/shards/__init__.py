"""Gather records into shards, and on CUDA gather the next shards while the device computes."""
