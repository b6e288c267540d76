"""Records become shards: prepared by the recipe, numbered, gathered until there is enough for one part a table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from actkit.config import BatchSpec, OutputSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.digests import InputDigest, changed
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
    part: int = 0
    """Its number."""
    first: int = 0
    """Records of the input before it."""
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
    done: Mapping[int, InputPosition] = MappingProxyType({}),
    vocabulary: int | None = None,
) -> Iterator[Shard]:
    """Records in shards of whole records; a shard may hold rejected records only.

    `done` are the ends of the shards that exist, by number: what they hold is read and left aside. Raises RunError
    where that is not what it was. A record with a token id that the model has no embedding of (`vocabulary` of them)
    is rejected.
    """
    digest, next_id, part = InputDigest(), 0, 0
    with closing(recipe.records()) as records:
        gathering = _Gathering(recipe, records, most_sequences, most_kept, output, progress, on_progress, vocabulary)
        held: Shard | None = None
        while True:
            if part in done:
                with progress.timed("read"):
                    digest.skip(iter(gathering.record, None), done[part])
                next_id = done[part].next_sequence_id
            if held is not None:
                yield held
                held = None
            if part not in done:
                shard = gathering.shard(part, digest, next_id)
                if shard is None:
                    break
                next_id = shard.end.next_sequence_id
                if part + 1 in done:  # whether its input is what it was, the digest of the next one says
                    held = shard
                else:
                    yield shard
            part += 1
    if any(number >= part for number in done):
        raise changed(
            f": it ends after {digest.read:,} records, but {max(one.read for one in done.values()):,} were read"
        )


@dataclass
class _Gathering:
    """What gathering goes through: the records, and the one that was too much for the shard before."""

    recipe: Recipe
    source: Iterator[Record | Rejected]
    most_sequences: int
    most_kept: int
    output: OutputSpec
    progress: Progress
    on_progress: OnProgress
    vocabulary: int | None
    waiting: tuple[Record, Prepared] | None = None

    def record(self) -> Record | Rejected | None:
        """The next record that is in no shard yet; None where there is none."""
        if self.waiting is None:
            return next(self.source, None)
        record, self.waiting = self.waiting[0], None
        return record

    def shard(self, part: int, digest: InputDigest, next_id: int) -> Shard | None:
        """The next shard; None where there is no record left."""
        progress, most = self.progress, self.output.max_records
        shard = Shard(part=part, first=digest.read)
        while self.waiting is not None or most is None or digest.read < most:
            if self.waiting is not None:
                (record, prepared), self.waiting = self.waiting, None
            else:
                with progress.timed("read"):
                    found = next(self.source, None)
                if found is None:
                    break
                progress.read += 1
                with progress.timed("tokenize"):
                    made = _prepare(self.recipe, found, self.vocabulary)
                if isinstance(made, Rejected):
                    self._reject(found, made)
                    shard.rejected.append(made)
                    digest.add(found)
                    if len(shard.rejected) >= MOST_REJECTED:
                        break
                    continue
                assert isinstance(found, Record)
                record, prepared = found, made
            numbered = _numbered(prepared.sequences, next_id)
            kept = sum(len(one.keep) for one in numbered)
            many = len(shard.sequences) + len(numbered) > self.most_sequences
            if shard.sequences and (many or shard.kept + kept > self.most_kept):
                self.waiting = record, prepared
                break
            digest.add(record)
            next_id += len(numbered)
            _count(numbered, progress, 1)
            progress.tally(prepared.said)
            shard.records[record.record_id] = record
            shard.sequences.extend(numbered)
            shard.kept += kept
            for table, row in prepared.rows.items():
                shard.rows.setdefault(table, {})[record.record_id] = row
        if not (shard.sequences or shard.rejected):
            return None
        shard.end = InputPosition(digest.read, next_id, digest.hex())
        return shard

    def _reject(self, record: Record | Rejected, rejected: Rejected) -> None:
        value = record.value if isinstance(record, Record) else None
        self.progress.reject(checked(rejected, self.output, value).reason, told(rejected, value))
        if rejected.found:
            self.progress.tally({"rejected_labels": (rejected.found,)})
        self.on_progress(self.progress)


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
