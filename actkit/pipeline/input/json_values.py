"""Decode a JSON value, and name the fault that makes it unusable: a key given twice, or too deep nesting."""

import json
import re
from typing import Any

DEEPEST = 100
"""Most levels of nesting in a record: the program's own calls must fit on the stack too."""


def short(error: Exception) -> str:
    """Return the message of a JSON error without its position."""
    return (
        "nested too deeply" if isinstance(error, RecursionError) else re.split(": line |; use sys", str(error))[0][:200]
    )


class JsonValues:
    """Decodes JSON values, and returns with each its fault; None for a usable value."""

    def __init__(self) -> None:
        self._twice: str | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def whole(self, text: str) -> tuple[Any, str | None]:
        """Decode the one value of a text; return it and its fault. Raises ValueError or RecursionError for no JSON."""
        self._twice = None
        value = self._decoder.decode(text)
        return value, self._fault(value, text, 0, len(text))

    def at(self, text: str, begin: int) -> tuple[Any, int, str | None]:
        """Decode the value at `begin`; return it, its end and its fault. Raises as `whole`."""
        self._twice = None
        value, end = self._decoder.raw_decode(text, begin)
        return value, end, self._fault(value, text, begin, end)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # one of the two values would be lost in silence
            names = [name for name, _ in pairs]
            self._twice = next(name for name in names if names.count(name) > 1)
        return found

    def _fault(self, value: Any, text: str, begin: int, end: int) -> str | None:
        if self._twice is not None:
            return f"the key {self._twice[:60]!r} stands twice in one object"
        deep = text.count("[", begin, end) + text.count("{", begin, end) > DEEPEST and _depth(value) > DEEPEST
        return "nested too deeply" if deep else None


def _depth(value: Any) -> int:
    """Return the levels of lists and objects, counted without recursion."""
    level, depth = [value], 0
    while level := [value for value in level if isinstance(value, (list, dict))]:
        depth += 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return depth
