"""One small run of each command on the bundled model, for what looks at finished runs; built once a session."""

import json
from pathlib import Path

import pytest

from actkit.cli.app import main

DATA = Path(__file__).parent / "data"
STEMS = (
    "tea",
    "rain",
    "the sea",
    "a horse",
    "bread",
    "winter",
    "a song",
    "the moon",
    "a river",
    "salt",
    "a clock",
    "glass",
)


COMMANDS = ("dpo", "capture", "concept", "sae-extract", "feature-dataset", "reward-detect", "steer")


def build(folder: Path) -> None:
    """Run each command into the directory of its name."""
    pairs = [json.loads(line) for line in (DATA / "pairs.jsonl").read_text(encoding="utf-8").splitlines()[:12]]
    answers = [{"prompt": f"{p['instruction']} {p['input']}", "response": p["chosen"]} for p in pairs[:8]]
    sides = [
        {"positive": f"I love {stem} so much.", "negative": f"I hate {stem} so very much.", "stem": stem}
        for stem in STEMS
    ]
    words = (("good", "lovely", "a joy"), ("bad", "awful", "a waste"))
    labelled = [
        {"text": f"{stem.capitalize()} is {words[side][number % 3]}.", "label": 1 - side}
        for number, stem in enumerate(STEMS * 2)
        for side in (0, 1)
    ]
    stories = [{"text": f"Once there was {stem}. " * 6 + f"The king said: {stem}!"} for stem in STEMS]
    choices = [{"prompt": f"What of {stem}?", "positive": "I love it.", "negative": "I hate it."} for stem in STEMS]
    inputs = {
        "choices": choices,
        "pairs": pairs,
        "answers": answers,
        "sides": sides,
        "labelled": labelled,
        "stories": stories,
    }
    for name, rows in inputs.items():
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(lines + "\n", encoding="utf-8")
    of = {name: str(folder / f"{name}.jsonl") for name in inputs}
    calls = {
        "dpo": ["dpo", of["pairs"], "--layers", "1,2"],
        "capture": ["capture", of["answers"], "--field", "prompt", "--layers", "1,2"],
        "concept": ["concept", of["sides"], "--layers", "1,2", "--target-layer", "2"],
        "sae-extract": ["sae-extract", of["answers"], "--target-layer", "2", "--save-all-tokens"],
        "feature-dataset": ["feature-dataset", of["stories"], "--target-layer", "2"],
        "reward-detect": ["reward-detect", of["labelled"], "--target-layer", "2", "--draws", "1000"],
        "steer": ["steer", str(folder / "concept"), "--answers", of["choices"], "--strengths", "1,2", "--random", "2"],
    }
    for command, arguments in calls.items():
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "-o", str(folder / command), "-q"])
        assert ended.value.code in (0, None), command
