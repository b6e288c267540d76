"""Tests of SAE features: how well each tells positive from negative texts."""
