"""The entries that `run.json` must have, and their kinds."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from actkit.runs.progress import COUNTERS

Shape = Any
"""A type or several; `[shape]` for every element of a list; `{name: shape}` for entries that must be there."""
COUNT = "a count"
"""A whole number that is not negative."""
WIDTH = "a width"
"""A count of at most `MOST_WIDE`: checks make arrays of that length."""
MOST_WIDE = 1 << 26
EACH = "each"
"""In place of a name: the shape of every entry of an object."""
TEXT = (str, type(None))
NAME = re.compile(r"[a-z][a-z_]*")
"""Names that a table may have: none leads out of the run."""
NEEDED: Mapping[str, Shape] = {
    "schema_version": COUNT,
    "command": str,
    "model": {"name": str, "revision": TEXT, "d_model": WIDTH, "dtype": str, "attn": TEXT, "backend": str},
    "hook_points": [str],
    "counts": dict.fromkeys((*COUNTERS, "sequences"), COUNT),
    "rejected_reasons": {EACH: COUNT},
    "rules": {"top_k": (int, type(None)), "threshold": (int, float), "pooling": (dict, type(None))},
    "tables": {EACH: {"rows": COUNT, "parts": COUNT, "bytes": COUNT}},
}
KNOWN: Mapping[str, Shape] = {
    "options": {},
    "detected": {},
    "fingerprint": {},
    "versions": {},
    "seconds": {},
    "profile": {},
    "statistics": {EACH: {}},
    "input": {EACH: {EACH: COUNT}},
    "exports": [str],
    "saes": [{"name": str, "hook_point": str, "d_sae": WIDTH, "metadata": {}}],
    "health": [{}],
    "notes": [str],
    "first_rejected": TEXT,
    "warnings": [str],
    "sessions": [{}],
}
"""Entries that may be missing."""


def wrong_in(facts: Mapping[str, Any]) -> str | None:
    """Describe the first fault that makes `run.json` unusable, in a few words; None where there is none."""
    known = {name: shape for name, shape in KNOWN.items() if name in facts}
    tables = facts.get("tables") if isinstance(facts, Mapping) else None
    unnamed = [table for table in tables if not NAME.fullmatch(table)] if isinstance(tables, Mapping) else []
    return f"{unnamed[0]!r:.60} is no name of a table" if unnamed else _wrong(facts, {**NEEDED, **known}, "")


def _wrong(value: Any, shape: Shape, where: str) -> str | None:
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return f"{where or 'it'} is {_kind(value)}, not an object"
        due = ((name, inner) for of, inner in shape.items() for name in (value if of == EACH else (of,)))
        for name, inner in due:
            place = f"{where}.{name}".lstrip(".")
            if name not in value:
                return f"it has no {place}"
            wrong = _wrong(value[name], inner, place)
            if wrong is not None:
                return wrong
        return None
    if isinstance(shape, list):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return f"{where} is {_kind(value)}, not a list"
        return next((wrong for item in value if (wrong := _wrong(item, shape[0], f"{where}[]")) is not None), None)
    if shape in (WIDTH, COUNT):
        fits = _is_count(value) and (shape == COUNT or value <= MOST_WIDE)
        return None if fits else f"{where} is {_kind(value)}, not {shape}"
    return None if isinstance(value, shape) else f"{where} is {_kind(value)}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), f"{value!r:.40}")
