"""The model `tiny`, its SAEs, and sample inputs, shipped in the package: MODEL_CARD.md says how the model came.

The samples were written for actkit and are in the public domain (CC0).
"""

from pathlib import Path

NAME = "tiny"
"""The name of the bundled model, and of the release of its SAEs."""

TINY = Path(__file__).parent / "tiny"
"""The model in Hugging Face layout."""

SAES = Path(__file__).parent / "saes"
"""One folder a hook point, in SAELens's format."""

EXAMPLES = Path(__file__).parent / "examples"
"""Sample inputs, one for each command."""

USES = {
    "pairs.jsonl": "actkit dpo pairs.jsonl",
    "prompts.txt": "actkit capture prompts.txt --positions last",
    "contrasts.jsonl": "actkit concept contrasts.jsonl --layers recommended",
    "answers.jsonl": "actkit sae-extract answers.jsonl --target-layer 2",
    "stories.txt": "actkit feature-dataset stories.txt --by-line",
    "comments.tsv": "actkit reward-detect comments.tsv",
}
"""Name → the command that reads it."""
