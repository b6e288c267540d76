"""Prepare a record and look at all of its sequences before a shard takes one: a record is used whole, or rejected."""

from collections.abc import Iterable
from dataclasses import dataclass

from actkit.config import OutputSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.recipe import Prepared, Recipe
from actkit.pipeline.rejections import told
from actkit.pipeline.shards.shard import marks_of


@dataclass(frozen=True)
class Room:
    """The capacity of one shard."""

    sequences: int
    kept: int
    """Positions that are kept."""

    def has(self, sequences: int, kept: int) -> bool:
        """Whether so much is no more than one shard holds."""
        return sequences <= self.sequences and kept <= self.kept


@dataclass(frozen=True)
class Usable:
    """A record that can be used, and what is known of all of its sequences."""

    record: Record
    prepared: Prepared
    sequences: Iterable[TokenSequence]
    n: int
    kept: int
    """Positions of them that are kept."""
    longest: int
    """Most positions of one of them that are kept."""
    marks: frozenset[str]
    """See `marks_of`."""
    is_long: bool
    """It is more than one shard holds, and may stand in several; then `sequences` are made anew each time."""


def usable(recipe: Recipe, record: Record | Rejected, room: Room, vocabulary: int | None) -> Usable | Rejected:
    """The record as the recipe prepares it. One with a token id that the model has no embedding of is rejected."""
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
        return Rejected(record.record_id, record.source, record.line, error.field, error.reason, error.found)
    return Usable(record, prepared, prepared.sequences if is_long else held, n, kept, longest, marks, is_long)


def checked(rejected: Rejected, output: OutputSpec, value: object = None) -> Rejected:
    """The rejected record, which read `value`. Raises InputError where the first bad one is to end the run."""
    if output.on_bad_record == "fail":
        raise InputError(told(rejected, value), "mend the record, or go on without: --on-bad-record skip")
    return rejected
