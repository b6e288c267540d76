"""Put sequences into batches, and run the batches through the model."""
