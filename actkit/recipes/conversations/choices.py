"""What a question lets choose among: a list, or a field for each choice."""

import re
from collections.abc import Mapping
from typing import Any

STEMS = ("choice", "option", "op", "ending", "distractor")
"""Names of a field with one choice, less its letter or number: COPA, WinoGrande, MedMCQA, SWAG, SciQ."""
ANSWERS = ("answer", "ans", "sol")
"""The same of choices that may be answers of somebody's as well: SIQA, BBQ, PIQA."""
LETTERS = re.compile("[A-E]")
"""Fields of MMLU as CSV."""


def choices_of(value: Any) -> list[str]:
    """The texts among which a question lets choose: a list, one under `text` (ARC), or one a letter (MedQA); else none.

    What a service answered with, or was set to, is called so too, and is no list of texts.
    """
    given = value.get("text", [*value.values()]) if isinstance(value, Mapping) else value
    several = isinstance(given, (list, tuple)) and len(given) > 1 and all(isinstance(text, str) for text in given)
    return [text.strip() for text in given] if several else []


def fields_of_choices(record: Mapping[str, Any], stems: tuple[str, ...] = STEMS) -> list[str]:
    """The fields that hold one choice each, `choice1` and `choice2` or `A` to `D`; none of a record without."""
    pattern = re.compile(rf"(?i:({'|'.join(stems)})[ _-]?(?:[a-e]|\d))|{LETTERS.pattern}")
    groups: dict[str, list[str]] = {}
    for name, value in record.items():
        found = pattern.fullmatch(name) if isinstance(name, str) and isinstance(value, str) and value.strip() else None
        if found is not None:
            groups.setdefault((found[1] or "").lower(), []).append(name)
    return next((names for stem, names in groups.items() if len(names) > (1 if stem else 2)), [])
