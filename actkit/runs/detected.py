"""What a run found out of its input by itself, in words for a screen and a page."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

DIGEST = re.compile("[0-9a-f]{64}")
"""What tells runs apart, and says nothing to a reader."""


def detected_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each thing: the shape, what labels were taken for, whether the chat template was used."""
    for name, value in facts.get("detected", {}).items():
        if isinstance(value, Mapping):
            yield name.replace("_", " "), labels_shown(value)
        elif name == "chat" and isinstance(value, bool):
            yield "chat template", "used" if value else "not used"
        elif value not in (None, "") and not DIGEST.fullmatch(str(value)):
            yield name.replace("_", " "), str(value)


def labels_shown(meant: Mapping[str, Any]) -> str:
    """What labels were taken for: `good, great → positive; bad → negative (field rating)`."""
    signs = [f"{', '.join(meant[sign])} → {sign}" for sign in ("positive", "negative", "neutral") if meant.get(sign)]
    other = ", ".join(f"{label} ({count:,})" for label, count in meant.get("neither", {}).items())
    told = "; ".join([*signs, *([f"neither: {other}"] if other else [])]) or "none"
    return f"{told} (field {meant['field']})" if meant.get("field") else told
