"""actkit: from a dataset and a language model to Parquet tables of activations."""
