"""The training and evaluation of the bundled model `tiny` and its SAEs: three commands, in MODEL_CARD.md."""
