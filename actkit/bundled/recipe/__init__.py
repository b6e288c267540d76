"""How the bundled model `tiny` and its SAEs were made, and measured: three commands, in MODEL_CARD.md."""
