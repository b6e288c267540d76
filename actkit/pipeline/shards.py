"""Records become shards: prepared by the recipe, numbered, gathered until there is enough for one part a table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from actkit.config import BatchSpec, OutputSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.digests import InputDigest
from actkit.pipeline.recipe import Prepared, Recipe
from actkit.pipeline.rejections import told
from actkit.runs.manifest import InputPosition
from actkit.runs.progress import OnProgress, Progress

MOST_REJECTED = 1 << 16
"""Rejected records in one shard: a file of nothing else must not fill the memory either."""


@dataclass
class Shard:
    """Records gathered until there is enough for one shard."""

    records: dict[int, Record] = field(default_factory=dict)
    sequences: list[TokenSequence] = field(default_factory=list)
    rows: dict[str, dict[int, Mapping[str, Any]]] = field(default_factory=dict)
    """Table → record_id → its row."""
    rejected: list[Rejected] = field(default_factory=list)
    kept: int = 0
    end: InputPosition = field(default_factory=InputPosition)
    """Where in the input the shard ends."""

    def take_out(self, rejected: Rejected, progress: Progress) -> None:
        """Make a record that was taken for usable a rejected one, as if it had been so from the beginning."""
        record_id = rejected.record_id
        own = [one for one in self.sequences if one.record_id == record_id]
        self.sequences = [one for one in self.sequences if one.record_id != record_id]
        del self.records[record_id]
        for rows in self.rows.values():
            rows.pop(record_id, None)
        self.rows = {table: rows for table, rows in self.rows.items() if rows}
        self.rejected = sorted([*self.rejected, rejected], key=lambda one: one.record_id)
        _count(own, progress, -1)
        progress.reject(rejected.reason)


def gather_shards(
    recipe: Recipe,
    most_sequences: int,
    most_kept: int,
    output: OutputSpec,
    progress: Progress,
    on_progress: OnProgress,
    done: Sequence[InputPosition] = (),
    vocabulary: int | None = None,
) -> Iterator[Shard]:
    """Records in shards of whole records; a shard may hold rejected records only.

    `done` are the ends of the shards that exist: what they hold is read and left aside. Raises RunError where that is
    not what it was. A record with a token id that the model has no embedding of (`vocabulary` of them) is rejected.
    """
    digest = InputDigest()
    next_id = done[-1].next_sequence_id if done else 0
    shard = Shard()
    with closing(recipe.records()) as records:
        with progress.timed("read"):
            digest.skip(records, done)
        while output.max_records is None or progress.read < output.max_records:
            with progress.timed("read"):
                record = next(records, None)
            if record is None:
                break
            progress.read += 1
            with progress.timed("tokenize"):
                prepared = _prepare(recipe, record, vocabulary)
            if isinstance(prepared, Rejected):
                value = record.value if isinstance(record, Record) else None
                progress.reject(checked(prepared, output, value).reason, told(prepared, value))
                if prepared.found:
                    progress.tally({"rejected_labels": (prepared.found,)})
                shard.rejected.append(prepared)
                digest.add(record)
                on_progress(progress)
                if len(shard.rejected) >= MOST_REJECTED:
                    shard.end = InputPosition(digest.read, next_id, digest.hex())
                    yield shard
                    shard = Shard()
                continue
            assert isinstance(record, Record)
            numbered = _numbered(prepared.sequences, next_id)
            kept = sum(len(one.keep) for one in numbered)
            full = shard.kept + kept > most_kept or len(shard.sequences) + len(numbered) > most_sequences
            if shard.sequences and full:
                shard.end = InputPosition(digest.read, next_id, digest.hex())
                yield shard
                shard = Shard()
            digest.add(record)
            next_id += len(numbered)
            _count(numbered, progress, 1)
            progress.tally(prepared.said)
            shard.records[record.record_id] = record
            shard.sequences.extend(numbered)
            shard.kept += kept
            for table, row in prepared.rows.items():
                shard.rows.setdefault(table, {})[record.record_id] = row
    if shard.sequences or shard.rejected:
        shard.end = InputPosition(digest.read, next_id, digest.hex())
        yield shard


def most_kept(kept_bytes: int, batch: BatchSpec) -> int:
    """Most positions kept in one shard, where each takes `kept_bytes` until it is written."""
    return max(batch.shard_mb * 2**20 // kept_bytes, 1)


def checked(rejected: Rejected, output: OutputSpec, value: Any = None) -> Rejected:
    """The rejected record, which read `value`. Raises InputError where the first bad one is to end the run."""
    if output.on_bad_record == "fail":
        raise InputError(told(rejected, value), "mend the record, or go on without: --on-bad-record skip")
    return rejected


def _count(sequences: Sequence[TokenSequence], progress: Progress, sign: int) -> None:
    """Count a record's sequences as written (`sign` 1), or no longer (-1)."""
    progress.written += sign
    progress.truncated += sign * any(one.n_truncated for one in sequences)
    progress.special_in_text += sign * any(one.encoding.special_in_text for one in sequences)
    progress.unknown_in_text += sign * any(one.encoding.n_unknown for one in sequences)


def _numbered(sequences: Sequence[TokenSequence], first: int) -> list[TokenSequence]:
    """A record's sequences with ids of the run; a parent is named by its index among them until then."""
    return [
        replace(one, sequence_id=first + index, parent=None if one.parent is None else first + one.parent)
        for index, one in enumerate(sequences)
    ]


def _prepare(recipe: Recipe, record: Record | Rejected, vocabulary: int | None) -> Prepared | Rejected:
    if isinstance(record, Rejected):
        return record
    try:
        prepared = recipe.prepare(record)
        largest = max((int(one.encoding.token_ids.max(initial=0)) for one in prepared.sequences), default=0)
        if vocabulary is not None and largest >= vocabulary:
            raise RecordError(
                None,
                f"the tokenizer gives token id {largest}, but the model has embeddings of 0 to {vocabulary - 1} only: "
                "a token that was added to the tokenizer alone",
            )
        return prepared
    except RecordError as error:
        return Rejected(record.record_id, record.source, record.line, error.field, error.reason, error.found)
