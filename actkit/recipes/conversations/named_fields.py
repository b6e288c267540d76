"""Refuse a field that a user names and no record has: a misspelt name must not go unnoticed."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actkit.errors import InputError, listed
from actkit.pipeline.data import Record
from actkit.pipeline.input.field_names import leaves
from actkit.pipeline.input.reader import look_ahead
from actkit.pipeline.input.records import Records
from actkit.recipes.conversations.fields import lookup

LOOK_AHEAD = 1000
"""Records in which a named field is looked for."""
SHOWN = 12
"""Most fields of the first record that an error lists."""


def with_fields(
    records: Records, named: Sequence[str | None], fields_of: Callable[[Any], Any] = lambda value: value
) -> Records:
    """Return the records. Raises InputError for a field in `named` that none of the first records has.

    It is for fields without which a record is still usable. `fields_of` returns the object that holds the fields of a
    record's value; a value that is no object is skipped.
    """
    wanted = [name for name in named if name is not None]
    if not wanted:
        return records
    first, again, _ = look_ahead(records, LOOK_AHEAD)
    check_named([fields_of(record.value) for record in first if isinstance(record, Record)], wanted)
    return again


def check_named(values: Sequence[Any], named: Sequence[str]) -> None:
    """Raise InputError, with the nearest field in its hint, for a path in `named` that none of the records has."""
    objects = [value for value in values if isinstance(value, Mapping)]
    for path in named:
        if objects and not any(path in value or lookup(value, path) is not None for value in objects):
            among = f" (of the first {len(objects):,})" if len(objects) == LOOK_AHEAD else ""
            near = difflib.get_close_matches(path, leaves(objects[0]), n=1)
            meant = f"did you mean {near[0][:60]}? " if near else ""
            raise InputError(
                f"no record has a field {path[:60]}{among}",
                f"{meant}the first one has {fields_shown(objects[0]) or 'none'}",
            )


def fields_shown(value: Mapping[Any, Any]) -> str:
    """List the paths of a record's fields, as many as an error shows."""
    return listed([path[:60] for path in leaves(value)], SHOWN)
