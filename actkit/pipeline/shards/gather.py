"""Gather records into shards: prepare them by the recipe, number them, and cut where a shard is full.

A shard holds whole records, except a record that is larger than a shard. Where the recipe allows it, such a record
begins a shard of its own and continues through as many as it needs; other records follow it in the last of them. It
counts in the shard where it begins. Its sequences are made when a shard takes them, and are not kept after that.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType

from actkit.config import BatchSpec, OutputSpec
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.digests import InputDigest, changed
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.rejections import told
from actkit.pipeline.shards.shard import Room, Shard, Usable, checked, count, usable
from actkit.runs.manifest import InputPosition
from actkit.runs.progress import OnProgress, Progress

MOST_REJECTED = 1 << 16
"""Most rejected records in one shard: a file of bad records alone must not fill the memory."""


def gather_shards(
    recipe: Recipe,
    room: Room,
    output: OutputSpec,
    progress: Progress,
    on_progress: OnProgress,
    done: Mapping[int, InputPosition] = MappingProxyType({}),
    vocabulary: int | None = None,
) -> Iterator[Shard]:
    """Yield the records in shards; a shard may hold rejected records only.

    `done` are the ends of finished shards, by number: their records are read and skipped. Raises RunError where these
    have changed. A record with a token id beyond the model's embeddings (`vocabulary` of them) is rejected.
    """
    part = 0
    with closing(recipe.records()) as records:
        gathering = _Gathering(recipe, records, room, output, progress, on_progress, vocabulary, InputDigest())
        held: Shard | None = None
        while True:
            if part in done:
                with progress.timed("read"):
                    gathering.skip(done[part])
            if held is not None:
                yield held
                held = None
            if part not in done:
                shard = gathering.shard(part)
                if shard is None:
                    break
                if part + 1 in done:  # the next shard's digest tells whether this one's input has changed
                    held = shard
                else:
                    yield shard
            part += 1
    if any(number >= part for number in done):
        read = gathering.digest.read
        raise changed(f": it ends after {read:,} records, but {max(end.read for end in done.values()):,} were read")


@dataclass
class _Open:
    """A record of which shards hold some sequences, with its remaining sequences."""

    about: Usable
    left: Iterator[TokenSequence]
    passed: int = 0
    """The number of its sequences that stand in shards."""


@dataclass
class _Gathering:
    """The state of gathering: the source of records, the counts, and a record that did not fit into the last shard."""

    recipe: Recipe
    source: Iterator[Record | Rejected]
    room: Room
    output: OutputSpec
    progress: Progress
    on_progress: OnProgress
    vocabulary: int | None
    digest: InputDigest
    next_id: int = 0
    waiting: Usable | None = None
    """A record that was read and is in no shard yet."""
    open: _Open | None = None
    """The last record of the digest, where it continues in the next shard."""
    last: Record | Rejected | None = None
    """The last record of the digest."""
    passed: int = 0
    """The number of the last record's sequences in finished shards, where it continues and is not open yet."""

    def skip(self, end: InputPosition) -> None:
        """Skip the records of a finished shard. Raises RunError where the input has changed."""
        self.digest.skip(iter(self._record, None), end)
        self.next_id, self.open, self.passed = end.next_sequence_id, None, end.within

    def shard(self, part: int) -> Shard | None:
        """Gather and return the next shard; None where no record is left."""
        shard = Shard(part=part, first=self.digest.read)
        if self.passed:
            self._open_again()
        if self.open is not None:
            self._take(self.open, shard)
        while self.open is None and (found := self._next(shard)) is not None:
            if shard.sequences and not self.room.has(len(shard.sequences) + found.n, shard.kept + found.kept):
                self.waiting = found
                break
            record, self.last = found.record, found.record
            self.digest.add(record)
            count(found.marks, self.progress)
            self.progress.tally(found.prepared.said)
            for table, row in found.prepared.rows.items():
                shard.rows.setdefault(table, {})[record.record_id] = row
            self._take(_Open(found, iter(found.sequences)), shard)
        if not (shard.sequences or shard.rejected):
            return None
        within = 0 if self.open is None else self.open.passed
        shard.end = InputPosition(self.digest.read, self.next_id, self.digest.hex(), within)
        return shard

    def _record(self) -> Record | Rejected | None:
        """Return the next record that is in no shard yet; None where there is none."""
        found = next(self.source, None) if self.waiting is None else self.waiting.record
        self.waiting = None
        self.last = self.last if found is None else found
        return found

    def _next(self, shard: Shard) -> Usable | None:
        """Return the next usable record and reject those before it; None at the end, or after MOST_REJECTED of them."""
        found, self.waiting = self.waiting, None
        progress, most = self.progress, self.output.max_records
        while found is None and len(shard.rejected) < MOST_REJECTED and (most is None or self.digest.read < most):
            with progress.timed("read"):
                record = next(self.source, None)
            if record is None:
                break
            progress.read += 1
            with progress.timed("tokenize"):
                made = usable(self.recipe, record, self.room, self.vocabulary)
            if isinstance(made, Usable):
                found = made
                break
            self._reject(record, made)
            shard.rejected.append(made)
            self.digest.add(record)
        return found

    def _take(self, opened: _Open, shard: Shard) -> None:
        """Put a record's sequences into a shard, as many as fit; keep the record open if some are left."""
        about, record = opened.about, opened.about.record
        first = self.next_id - opened.passed  # a parent is named by its index among the record's sequences until here
        before = opened.passed
        with self.progress.timed("tokenize"):
            while opened.passed < about.n and (
                not (about.is_long and shard.sequences)
                or self.room.has(len(shard.sequences) + 1, shard.kept + about.longest)
            ):
                sequence = next(opened.left)
                parent = None if sequence.parent is None else first + sequence.parent
                shard.sequences.append(replace(sequence, sequence_id=self.next_id, parent=parent))
                shard.kept += len(sequence.keep)
                opened.passed, self.next_id = opened.passed + 1, self.next_id + 1
        shard.records[record.record_id] = record
        if opened.passed - before < about.n:
            shard.shares[record.record_id] = (opened.passed - before) / about.n
        self.open = opened if opened.passed < about.n else None

    def _open_again(self) -> None:
        """Make anew the rest of a record that began in a finished shard. Raises RunError where it has changed."""
        passed, self.passed = self.passed, 0
        with self.progress.timed("tokenize"):
            found = None if self.last is None else usable(self.recipe, self.last, self.room, self.vocabulary)
            if not isinstance(found, Usable) or not passed < found.n:
                raise changed(f": record {self.digest.read - 1:,} does not go on as it did")
            left = iter(found.sequences)
            for _ in range(passed):
                next(left)
        self.open = _Open(found, left, passed)

    def _reject(self, record: Record | Rejected, rejected: Rejected) -> None:
        value = record.value if isinstance(record, Record) else None
        self.progress.reject(checked(rejected, self.output, value).reason, told(rejected, value))
        if rejected.found:
            self.progress.tally({"rejected_labels": (rejected.found,)})
        self.on_progress(self.progress)


def room_of(kept_bytes: int, batch: BatchSpec) -> Room:
    """Return the capacity of one shard, where each kept position takes `kept_bytes` until it is written."""
    return Room(batch.shard_sequences, max(batch.shard_mb * 2**20 // kept_bytes, 1))
