"""`Record` and `Rejected`: readers yield every record of an input once, as either. The module imports nothing heavy."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from actkit.errors import RecordError


@dataclass(frozen=True)
class Record:
    """One record of the input, as read: `value` is a text or a mapping of fields, or any other value of JSON."""

    record_id: int
    """0-based index among all records of the input, bad ones included."""
    source: str
    line: int | None
    """1-based line at which the record begins; None where the format has no lines."""
    value: Any

    @property
    def place(self) -> str:
        """`file:line`, or the file and the record's number where there are no lines."""
        return place_of(self.source, self.line, self.record_id)

    def rejected(self, why: RecordError) -> "Rejected":
        """Return the record as one that is not used."""
        return Rejected(self.record_id, self.source, self.line, why.field, why.reason, why.found)


@dataclass(frozen=True)
class Rejected:
    """One record that is not used, and the reason."""

    record_id: int
    source: str
    line: int | None
    field: str | None
    reason: str
    found: str = ""
    """The value that was found, shortened, where that helps: a label without a meaning."""

    @property
    def place(self) -> str:
        """`file:line`, or the file and the record's number where there are no lines."""
        return place_of(self.source, self.line, self.record_id)


Records: TypeAlias = Generator[Record | Rejected, None, None]
"""Every record of an input, once, in order."""


def place_of(source: str, line: int | None, record_id: int) -> str:
    """Return the place of a record, for people: `file:line`, or the file and the record's number."""
    return f"{source}:{line}" if line is not None else f"{source}, record {record_id}"
