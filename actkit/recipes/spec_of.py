"""`spec_of` makes a spec of options, named as on the command line and in `config.yaml`: `options_of`, backwards."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from actkit.errors import UsageError
from actkit.recipes.specs import OwnSpec

Spec = TypeVar("Spec")


def names_of(kind: Any, without: Collection[str] = ()) -> set[str]:
    """The options that a spec has, those of the specs in it too."""
    found: set[str] = set()
    for one in fields(kind):
        name, inner = one.metadata.get("option", one.name), _inner(one)
        if name is None or one.name in without or one.name == "saes":
            continue
        found |= names_of(inner, one.metadata.get("without", ())) if inner else {name}
    return found


def spec_of(kind: type[Spec], options: Mapping[str, Any], **given: Any) -> Spec:
    """A spec of this kind with the options that it has; others keep their defaults. `given` are fields by name."""
    values = dict(given)
    for one in fields(kind):  # type: ignore[arg-type]
        name, inner = one.metadata.get("option", one.name), _inner(one)
        if one.name in values or name is None:
            continue
        if inner is not None:
            values[one.name] = spec_of(inner, options)
        elif name in options:
            values[one.name] = _value(options[name], one)
    return kind(**values)


def check_options(options: Collection[str], own: type[OwnSpec], *others: Any) -> None:
    """Raise UsageError for options that none of the specs has, and name near ones."""
    known = set().union(*(names_of(kind) for kind in (own, *others)))
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(f"{own.command} has no option {name}", f"{meant}it has {', '.join(sorted(known))}")


def _inner(one: Any) -> Any:
    """The kind of the spec that a field holds; None for a plain value."""
    kind = one.default_factory if one.default_factory is not MISSING else one.type
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _value(value: Any, one: Any) -> Any:
    if "none" in one.metadata and value == one.metadata["none"]:
        return None
    if isinstance(one.default, tuple):
        return (value,) if isinstance(value, str) else tuple(value)
    return value
