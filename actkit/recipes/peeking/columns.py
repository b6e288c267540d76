"""Describe the columns of some records: types, examples, labels with their counts, roles of messages."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.pipeline.input.class_names import ClassName
from actkit.pipeline.input.field_names import WHAT, WHO, are_messages, is_message, leaves, with_role

EXAMPLES = 2
LONGEST = 60
"""Most characters of an example."""
MOST_LABELS = 12
"""Most different values of a column of labels."""
IDS = re.compile(r"(?:^|[._]|(?<=[a-z]))(?:[ug]u)?(?:id|Id|ID|type)$")
"""Names of columns with ids or types of records."""
KINDS = {
    "str": "text",
    "ClassName": "class",
    "bool": "true/false",
    "dict": "object",
    "list": "list",
    "NoneType": "null",
}


@dataclass
class FileColumn:
    """One column of the records."""

    name: str
    kinds: Counter[str] = field(default_factory=Counter)
    """Type → the number of values that have it."""
    examples: list[str] = field(default_factory=list)
    values: Counter[str] | None = field(default_factory=Counter)
    """Value → count; None if values are too many or too long for labels, or are lists or objects."""
    numbers: list[float] = field(default_factory=list)
    characters: int = 0
    """Characters of all texts."""
    conversations: int = 0
    """The number of values that are messages or lists of messages."""

    def add(self, value: Any) -> None:
        """Count one value."""
        kind = KINDS.get(type(value).__name__, "number" if isinstance(value, (int, float)) else type(value).__name__)
        self.kinds[kind] += 1
        text = " ".join(_written(value).split())
        example = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        if kind != "null" and len(self.examples) < EXAMPLES and example not in self.examples:
            self.examples.append(example)
        self.characters += len(value) if isinstance(value, str) else 0
        self.conversations += are_messages(value) or is_message(value)
        number = _number(value)
        if number is not None:
            self.numbers.append(number)
        if self.values is not None and kind != "null":
            self.values[f"{text} (class {value.number})" if isinstance(value, ClassName) else text] += 1
            if len(self.values) > MOST_LABELS or len(text) > LONGEST or kind in ("object", "list"):
                self.values = None

    @property
    def is_constant(self) -> bool:
        """Whether all records, two at least, have the same value."""
        return self.values is not None and len(self.values) == 1 < sum(self.values.values())

    @property
    def is_names(self) -> bool:
        """Whether its texts look like ids or names: no example has a blank."""
        return not any(" " in example for example in self.examples)

    @property
    def labels(self) -> dict[str, int]:
        """Value → count, if the column may hold labels: few values, each twice or more on average; else empty."""
        if not self.values or len(self.values) < 2 or sum(self.values.values()) < 2 * len(self.values):
            return {}
        return dict(self.values.most_common())

    @property
    def has_texts(self) -> bool:
        """Whether it holds texts and no labels: repeated values are texts if they average four words or more."""
        are_labels = sum(value.count(" ") for value in self.labels) < 3 * len(self.labels)
        return bool(self.kinds.get("text")) and not are_labels and not self.is_constant

    def facts(self) -> dict[str, Any]:
        """Return the column as plain values."""
        found: dict[str, Any] = {"types": dict(self.kinds), "examples": self.examples}
        return found | ({"labels": self.labels} if self.labels else {})


def columns_of(values: Iterable[Any]) -> list[FileColumn]:
    """Return the columns of some records in the order in which they come; fields of objects have dotted paths."""
    found: dict[str, FileColumn] = {}
    for value in values:
        for path, cell in leaves(value).items() if isinstance(value, Mapping) else ():
            found.setdefault(path, FileColumn(path)).add(cell)
    return list(found.values())


def roles_of(values: Iterable[Any]) -> dict[str, int]:
    """Role → the number of messages that have it, anywhere in the records."""
    counts: Counter[str] = Counter()
    stack: list[Any] = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            value = with_role(value)
            role = next((value[name] for name in WHO if name in value), None)
            if isinstance(role, str) and any(name in value for name in WHAT):
                counts[role] += 1
            stack.extend(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            stack.extend(value)
    return dict(counts.most_common())


def texts_first(columns: Iterable[FileColumn]) -> list[str]:
    """Return the names of columns of conversations, then of text, most characters first; columns that may be ids last.

    A column that is called an id or a type, and holds only names, is left out.
    """
    texts = [column for column in columns if column.conversations or column.has_texts]
    texts = [column for column in texts if not (column.is_names and IDS.search(column.name))]
    texts.sort(key=lambda column: (column.is_names, -column.conversations, -column.characters))
    return [column.name for column in texts]


def _written(value: Any) -> str:
    """Write a value as it stands in a file: objects and lists as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (Mapping, list)) else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, ClassName)) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < 1e9 else None
