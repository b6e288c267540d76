"""Names of classes: `datasets` stores a label as a number, and its name in the file's metadata.

A number alone does not tell its meaning: 0 may be named positive. So a value of such a column is read as its name, a
`ClassName`, which also has the number.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

NamesIn = Callable[[Any], Any]
"""A function that returns a value with the names of classes in place of their numbers."""


class ClassName(str):
    """The name of a class, and the number that stands for it in the file."""

    number: int

    def __new__(cls, name: str, number: int) -> "ClassName":
        """Make a name with its number."""
        made = super().__new__(cls, name)
        made.number = number
        return made


def of_schema(metadata: Mapping[bytes, bytes] | None) -> dict[str, NamesIn]:
    """Column → the function that names its classes, by the metadata that `datasets` writes into files."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return of_features(features)


def of_features(features: Any) -> dict[str, NamesIn]:
    """Column → the function that names its classes, by a dataset's features as JSON."""
    if not isinstance(features, Mapping):
        return {}
    found = {str(name): _naming(feature) for name, feature in features.items() if name != "_type"}
    return {name: naming for name, naming in found.items() if naming is not None}


def _naming(feature: Any) -> NamesIn | None:
    if isinstance(feature, list) and len(feature) == 1:  # how older versions write a list
        return _naming(feature[0])
    if not isinstance(feature, Mapping):
        return None
    kind = feature.get("_type")
    if not isinstance(kind, str):  # an object with fields of its own
        return _inside(of_features(feature))
    if kind == "ClassLabel":
        names = feature.get("names")
        return _by_number(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
    if kind in ("Sequence", "List", "LargeList"):
        return _naming(feature.get("feature"))
    return None


def _by_number(names: list[str]) -> NamesIn:
    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        if value == -1:  # `datasets` stores it where there is no label
            return None
        return ClassName(names[value], value) if 0 <= value < len(names) else value

    return name


def _inside(names: Mapping[str, NamesIn]) -> NamesIn | None:
    """Return a function that names classes in an object, in each object of a list, and in an object of lists."""

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(item) for item in value]
        return named(value, names) if isinstance(value, Mapping) else value

    return name if names else None


def named(row: Mapping[str, Any], names: Mapping[str, NamesIn]) -> Mapping[str, Any]:
    """Return a row, or an object in it, with the names of its classes."""
    return {**row, **{name: naming(row[name]) for name, naming in names.items() if name in row}} if names else row


def as_written(row: Mapping[str, Any], names: Mapping[str, NamesIn]) -> Mapping[str, Any]:
    """Return a row of a table as its record was written: with names of classes, and objects without added nulls.

    In a table all objects of a column have the same fields, with nulls for those that an object lacked. With them a
    tool's description would have the parameters of all other tools (TRL removes them likewise).
    """
    return {name: _without_gaps(value) for name, value in named(row, names).items()}


def _without_gaps(value: Any) -> Any:
    if type(value).__name__ == "ndarray":  # pandas' form of a list
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _without_gaps(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        return [_without_gaps(item) for item in value]
    return value
