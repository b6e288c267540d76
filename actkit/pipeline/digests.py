"""Digests of the input, by which a run that is continued knows its records, and of interventions."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from actkit.backends.actions import Action
from actkit.errors import RunError
from actkit.pipeline.data import Record, Rejected
from actkit.runs.manifest import InputPosition


class InputDigest:
    """A running sha256 over the values of the records; their files and lines do not count."""

    def __init__(self) -> None:
        self.read = 0
        self._sha = hashlib.sha256()

    def add(self, record: Record | Rejected) -> None:
        """Add one record: its value, or the field and reason of its rejection."""
        if isinstance(record, Rejected):
            said = "rejected ", json.dumps([record.field, record.reason]), "\n"
        else:
            said = "record ", canonical(record.value), "\n"
        for piece in said:  # one by one, since a record may be large
            self._sha.update(piece.encode())
        self.read += 1

    def hex(self) -> str:
        """Return the digest of all records so far."""
        return self._sha.hexdigest()

    def skip(self, records: Iterator[Record | Rejected], place: InputPosition) -> None:
        """Read on to `place`. Raises RunError where the input up to there has changed."""
        first = self.read
        while self.read < place.read:
            record = next(records, None)
            if record is None:
                raise changed(f": it ends after {self.read:,} records, but {place.read:,} were read")
            self.add(record)
        if self.hex() != place.input_digest:
            raise changed(f" before record {place.read:,} (and after record {first:,})")


def changed(how: str) -> RunError:
    """Make the error for an input that has changed since the run began."""
    return RunError(
        f"the input has changed{how}", "give the input that the run began with, or start again with --overwrite"
    )


def canonical(value: Any) -> str:
    """Write equal values as the same text: JSON with sorted keys, and the repr of values that JSON lacks."""
    try:
        return json.dumps(value, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys of several kinds, or a value that holds itself
        return _without_address(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):  # arrays, of which repr leaves the middle out
        return value.tolist()
    return _without_address(value)


def _without_address(value: Any) -> str:
    """Return a value's repr without memory addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def digest_of(actions: Sequence[Action]) -> str:
    """Return the sha256 of all interventions. It differs where another run has replaced the steered one.

    It leaves out vectors of controls: they follow from the rest, and other processors may round them otherwise.
    """
    digest = hashlib.sha256()
    for action in actions:
        digest.update(canonical({**action.row(), "vector": None, "sink_norm": None}).encode())
        digest.update(b"" if action.vector is None or action.is_control else action.vector.tobytes())
    return digest.hexdigest()
