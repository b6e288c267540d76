"""Labels that their annotators turned down: annotation tools export them together with valid labels."""

from collections.abc import Mapping
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import lookup
from actkit.recipes.label_words import word_of

WITHDRAWN = {"answer": ("reject", "ignore"), "status": ("discarded",), "was_cancelled": ("true",)}
"""Marks of annotation tools on a label that their user turned down: Prodigy, Argilla, Label Studio."""


def check_holds(value: Mapping[str, Any], label: str) -> None:
    """Raise RecordError where a field beside the label, or beside an object around it, says that it is withdrawn."""
    parts = label.split(".")
    places = ["".join(f"{part}." for part in parts[:end]) for end in range(len(parts))]
    paths = {f"{place}{name}": words for place in places for name, words in WITHDRAWN.items()}
    if "text" not in value:  # an answer is what was said to a prompt
        del paths["answer"]
    for path, words in (paths | {f"{label}.status": WITHDRAWN["status"]}).items():
        said = lookup(value, path)
        found = [
            word_of(each) for each in (said if isinstance(said, list) else [said]) if isinstance(each, (str, bool))
        ]
        if path != label and (down := [word for word in found if word in words]):
            raise RecordError(path, f"{path} is {down[0]}: the label was not given, but turned down")
