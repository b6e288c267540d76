"""Fields that a user names and no record has: a misspelt one must not be left out without a word."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actkit.errors import InputError
from actkit.pipeline.data import Record
from actkit.pipeline.input.reader import Records, look_ahead

LOOK_AHEAD = 1000
"""Records looked at."""
SHOWN = 12
"""Fields of the first record that an error lists."""


def with_fields(
    records: Records, named: Sequence[str], fields_of: Callable[[Any], Any] = lambda value: value
) -> Records:
    """The records again. Raises InputError for a field in `named` that none of the first ones has.

    Meant for fields without which a record is used all the same. `fields_of` takes a record's value to the object that
    has them; what is none says nothing.
    """
    if not named:
        return records
    first, again = look_ahead(records, LOOK_AHEAD)
    found = [fields_of(one.value) for one in first if isinstance(one, Record)]
    values = [one for one in found if isinstance(one, Mapping)]
    for name in named:
        if values and not any(name in value for value in values):
            among = f" (of the first {LOOK_AHEAD:,})" if len(first) == LOOK_AHEAD else ""
            there = ", ".join(str(one)[:60] for one in list(values[0])[:SHOWN])
            raise InputError(f"no record has a field {name[:60]}{among}", f"the first one has {there or 'none'}")
    return again
