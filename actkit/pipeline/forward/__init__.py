"""Sequences become batches, and batches are run through the model."""
