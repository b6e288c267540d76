"""What a run found out of its input by itself, in words for a screen and a page."""

from collections.abc import Iterator, Mapping
from typing import Any


def detected_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each thing: the shape, what labels were taken for, whether the chat template was used."""
    for name, value in facts.get("detected", {}).items():
        if isinstance(value, Mapping):
            yield name.replace("_", " "), labels_shown(value)
        elif name == "chat" and isinstance(value, bool):
            yield "chat template", "used" if value else "not used"
        elif value not in (None, ""):
            yield name.replace("_", " "), str(value)


def labels_shown(meant: Mapping[str, Any]) -> str:
    """What labels were taken for: `good, great → positive; bad → negative (field rating)`."""
    signs = [f"{', '.join(meant[sign])} → {sign}" for sign in ("positive", "negative", "neutral") if meant.get(sign)]
    other = ", ".join(f"{label} ({count:,})" for label, count in meant.get("neither", {}).items())
    told = "; ".join([*signs, *([f"neither: {other}"] if other else [])]) or "none"
    return f"{told} (field {meant['field']})" if meant.get("field") else told
