"""The model `tiny` and its SAEs, shipped in the package: MODEL_CARD.md says what they are and how they came."""

from pathlib import Path

NAME = "tiny"
"""The name of the bundled model, and of the release of its SAEs."""

TINY = Path(__file__).parent / "tiny"
"""The model in Hugging Face layout."""

SAES = Path(__file__).parent / "saes"
"""One folder a hook point, in SAELens's format."""
