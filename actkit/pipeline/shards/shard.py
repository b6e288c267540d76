"""`Shard`: records, or pieces of one, that are computed and written together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.runs.manifest import InputPosition
from actkit.runs.progress import Progress


@dataclass
class Shard:
    """Records gathered until there is enough for one shard."""

    records: dict[int, Record] = field(default_factory=dict)
    sequences: list[TokenSequence] = field(default_factory=list)
    rows: dict[str, dict[int, Mapping[str, Any]]] = field(default_factory=dict)
    """Table → record_id → its row."""
    rejected: list[Rejected] = field(default_factory=list)
    kept: int = 0
    part: int = 0
    """Its number."""
    first: int = 0
    """Records of the input that begin before it."""
    end: InputPosition = field(default_factory=InputPosition)
    """Where in the input the shard ends."""
    shares: dict[int, float] = field(default_factory=dict)
    """Of records that have sequences in other shards too: record_id → which share of them is here."""

    @property
    def n_records(self) -> float:
        """The number of records in it; of one that stands in several shards, its share."""
        whole = len(self.records) + len(self.rejected) - len(self.shares)
        return whole + sum(self.shares.values()) if self.shares else whole

    def record_of(self, sequence_id: int) -> Record | None:
        """The record that a sequence is of; None for a sequence that is not here."""
        owners = (sequence.record_id for sequence in self.sequences if sequence.sequence_id == sequence_id)
        owner = next(owners, None)
        return None if owner is None else self.records[owner]

    def take_out(self, rejected: Rejected, progress: Progress) -> None:
        """Make a record that was taken for usable a rejected one, as if it had been so from the beginning."""
        record_id = rejected.record_id
        own = [sequence for sequence in self.sequences if sequence.record_id == record_id]
        self.sequences = [sequence for sequence in self.sequences if sequence.record_id != record_id]
        del self.records[record_id]
        for rows in self.rows.values():
            rows.pop(record_id, None)
        self.rows = {table: rows for table, rows in self.rows.items() if rows}
        self.rejected = sorted([*self.rejected, rejected], key=lambda record: record.record_id)
        count(frozenset[str]().union(*map(marks_of, own)), progress, -1)
        progress.reject(rejected.reason)


def marks_of(sequence: TokenSequence) -> frozenset[str]:
    """The counters of `Progress` that a record is counted in for the sake of this sequence."""
    found = {
        "truncated": sequence.n_truncated,
        "special_in_text": sequence.encoding.special_in_text,
        "unknown_in_text": sequence.encoding.n_unknown,
    }
    return frozenset(name for name, number in found.items() if number)


def count(marks: frozenset[str], progress: Progress, sign: int = 1) -> None:
    """Count a record that has these marks as written (`sign` 1), or no longer (-1)."""
    for name in ("written", *marks):
        setattr(progress, name, getattr(progress, name) + sign)
