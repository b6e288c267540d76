"""`Shard`: records, or a part of one, that are computed and written together. `usable` prepares a record for one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actkit.config import OutputSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.recipe import Prepared, Recipe
from actkit.pipeline.rejections import told
from actkit.runs.manifest import InputPosition
from actkit.runs.progress import Progress


@dataclass
class Shard:
    """Records that are computed and written together, with their sequences."""

    records: dict[int, Record] = field(default_factory=dict)
    sequences: list[TokenSequence] = field(default_factory=list)
    rows: dict[str, dict[int, Mapping[str, Any]]] = field(default_factory=dict)
    """Table → record_id → its row."""
    rejected: list[Rejected] = field(default_factory=list)
    kept: int = 0
    part: int = 0
    """The shard's number."""
    first: int = 0
    """The number of the input's records that begin before the shard."""
    end: InputPosition = field(default_factory=InputPosition)
    """The position in the input at which the shard ends."""
    shares: dict[int, float] = field(default_factory=dict)
    """For records with sequences in other shards too: record_id → the share of them that is here."""

    @property
    def n_records(self) -> float:
        """The number of records here; a record in several shards counts by its share."""
        whole = len(self.records) + len(self.rejected) - len(self.shares)
        return whole + sum(self.shares.values()) if self.shares else whole

    @property
    def n_tokens(self) -> int:
        """The number of tokens of the sequences; each shared beginning counts once."""
        return sum(len(sequence.encoding) - sequence.start for sequence in self.sequences)

    def record_of(self, sequence_id: int) -> Record | None:
        """Return the record of a sequence; None for a sequence that is not here."""
        owners = (sequence.record_id for sequence in self.sequences if sequence.sequence_id == sequence_id)
        owner = next(owners, None)
        return None if owner is None else self.records[owner]

    def take_out(self, rejected: Rejected, progress: Progress) -> None:
        """Remove a record that turned out to be unusable, and count it as rejected, not as written."""
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
    """Return the counters of `Progress` that count a record because of this sequence."""
    found = {
        "truncated": sequence.n_truncated,
        "special_in_text": sequence.encoding.special_in_text,
        "unknown_in_text": sequence.encoding.n_unknown,
    }
    return frozenset(name for name, number in found.items() if number)


def count(marks: frozenset[str], progress: Progress, sign: int = 1) -> None:
    """Count a record with these marks as written (`sign` 1), or take the count back (-1)."""
    for name in ("written", *marks):
        setattr(progress, name, getattr(progress, name) + sign)


@dataclass(frozen=True)
class Room:
    """The capacity of one shard."""

    sequences: int
    kept: int
    """Kept positions."""

    def has(self, sequences: int, kept: int) -> bool:
        """Whether one shard can hold so many sequences and kept positions."""
        return sequences <= self.sequences and kept <= self.kept


@dataclass(frozen=True)
class Usable:
    """A usable record, with counts over all of its sequences."""

    record: Record
    prepared: Prepared
    sequences: Iterable[TokenSequence]
    n: int
    kept: int
    """The number of kept positions of all sequences."""
    longest: int
    """The most kept positions of a single sequence."""
    marks: frozenset[str]
    """See `marks_of`."""
    is_long: bool
    """Whether the record is larger than a shard and may stand in several; `sequences` are then made anew each time."""


def usable(recipe: Recipe, record: Record | Rejected, room: Room, vocabulary: int | None) -> Usable | Rejected:
    """Prepare a record by the recipe. Rejects a record with a token id that the model has no embedding of."""
    if isinstance(record, Rejected):
        return record
    try:
        prepared = recipe.prepare(record)
        n = kept = longest = largest = 0
        marks: frozenset[str] = frozenset()
        held: list[TokenSequence] = []
        is_long = False
        for sequence in prepared.sequences:
            n, kept, marks = n + 1, kept + len(sequence.keep), marks | marks_of(sequence)
            longest = max(longest, len(sequence.keep))
            largest = max(largest, int(sequence.encoding.token_ids.max(initial=0)))
            is_long = recipe.splits and not room.has(n, kept)
            if is_long:
                held = []
            else:
                held.append(sequence)
        if vocabulary is not None and largest >= vocabulary:
            raise RecordError(
                None,
                f"the tokenizer gives token id {largest}, but the model has embeddings of 0 to {vocabulary - 1} only: "
                "a token that was added to the tokenizer alone",
            )
    except RecordError as error:
        return record.rejected(error)
    return Usable(record, prepared, prepared.sequences if is_long else held, n, kept, longest, marks, is_long)


def checked(rejected: Rejected, output: OutputSpec, value: object = None) -> Rejected:
    """Return the rejected record, whose value is `value`. Raises InputError where the first bad record ends the run."""
    if output.on_bad_record == "fail":
        raise InputError(told(rejected, value), "mend the record, or go on without: --on-bad-record skip")
    return rejected
