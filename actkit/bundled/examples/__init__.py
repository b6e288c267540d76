"""Sample inputs, one for each command, written for actkit and in the public domain (CC0)."""

from pathlib import Path

FOLDER = Path(__file__).parent
USES = {
    "pairs.jsonl": "actkit dpo pairs.jsonl",
    "prompts.txt": "actkit capture prompts.txt --positions last",
    "contrasts.jsonl": "actkit concept contrasts.jsonl --layers recommended",
    "answers.jsonl": "actkit sae-extract answers.jsonl --target-layer 2",
    "stories.txt": "actkit feature-dataset stories.txt --by-line",
    "comments.tsv": "actkit reward-detect comments.tsv",
}
"""Name → the command that reads it."""
