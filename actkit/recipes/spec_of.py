"""`spec_of` makes a spec of options, named as on the command line and in `config.yaml`: `options_of`, backwards."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from actkit.errors import UsageError, in_short
from actkit.recipes.specs import OwnSpec

Spec = TypeVar("Spec")


def names_of(kind: Any, without: Collection[str] = ()) -> set[str]:
    """The options that a spec has, those of the specs in it too."""
    found: set[str] = set()
    for field in fields(kind):
        name, inner = field.metadata.get("option", field.name), _inner(field)
        if name is None or field.name in without or field.name == "saes":
            continue
        found |= names_of(inner, field.metadata.get("without", ())) if inner else {name}
    return found


def spec_of(kind: type[Spec], options: Mapping[str, Any], **given: Any) -> Spec:
    """A spec of this kind with the options that it has; others keep their defaults. `given` are fields by name."""
    values = dict(given)
    for field in fields(kind):  # type: ignore[arg-type]
        name, inner = field.metadata.get("option", field.name), _inner(field)
        if field.name in values or name is None:
            continue
        if inner is not None:
            values[field.name] = spec_of(inner, options)
        elif name in options:
            values[field.name] = _value(options[name], field)
    return kind(**values)


def check_options(options: Collection[str], own: type[OwnSpec], *others: Any) -> None:
    """Raise UsageError for options that none of the specs has, and name near ones."""
    known = set().union(*(names_of(kind) for kind in (own, *others)))
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(f"{own.command} has no option {name}", f"{meant}it has {', '.join(sorted(known))}")


def check_bounds(*specs: Any) -> None:
    """Raise UsageError for a field that is no number, or beyond the `least` or the `most` that its metadata say.

    The specs in specs are looked at too. The command line has checked its options; Python has not.
    """
    for spec in specs:
        for field in fields(spec):
            value = getattr(spec, field.name)
            if is_dataclass(value):
                check_bounds(value)
            least, most = (field.metadata.get(name) for name in ("least", "most"))
            if value is None or least is None:
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or value < least or (most is not None and value > most):
                name = str(field.metadata.get("option", field.name)).replace("_", "-")
                allowed = f"from {least} on" if most is None else f"from {least} to {most}"
                raise UsageError(f"--{name} {in_short(repr(value))} is not possible", f"it is a number {allowed}")


def _inner(field: Any) -> Any:
    """The kind of the spec that a field holds; None for a plain value."""
    kind = field.default_factory if field.default_factory is not MISSING else field.type
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _value(value: Any, field: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, str):  # a number of numpy's
        value = value.item()
    if "none" in field.metadata and value == field.metadata["none"]:
        return None
    if isinstance(field.default, tuple):
        return (value,) if isinstance(value, str) else tuple(value)
    return value
