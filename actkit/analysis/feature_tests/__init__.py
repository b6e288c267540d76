"""Which SAE features tell positive from negative texts."""
