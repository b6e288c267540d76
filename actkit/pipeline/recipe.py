"""What a command is to the loop, and what the loop tells of itself."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.errors import RunError
from actkit.pipeline.data import Record, TokenSequence
from actkit.pipeline.health import Health
from actkit.pipeline.reduce import Reducer
from actkit.pipeline.source import Records
from actkit.pipeline.table_sizes import Stored


@dataclass(frozen=True)
class Prepared:
    """What a recipe makes of one record: its sequences, and a row for each table that has one row a record."""

    sequences: Sequence[TokenSequence]
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What is particular to one command."""

    command: str
    records: Callable[[], Records]
    prepare: Callable[[Record], Prepared]
    """Raises RecordError for a record that cannot be used."""
    reducers: Mapping[str, Reducer]
    """Table → how the kept activations become its rows."""
    finish: Callable[[Path], Iterator[tuple[str, pa.Table]]] = lambda _run: iter(())
    """Tables computed from the finished ones in the directory that it is given; a table that is yielded several times
    is written in as many parts."""
    detected: Mapping[str, Any] = field(default_factory=dict)
    """What was found out rather than asked for, such as the format of the input."""
    found: Callable[[], Mapping[str, Any]] = dict
    """What was counted on the way, for `run.json`; asked for at the end."""
    texts: Callable[[Path, Mapping[str, Any]], Mapping[str, str]] = lambda _run, _facts: {}
    """Documents to be written beside the tables at the end, from the tables and the facts: name → text."""
    kept_bytes: int | None = None
    """What one kept position costs in memory until its shard is written; None for vectors of all hook points."""
    stored: Mapping[str, Stored] = field(default_factory=dict)
    """Table → how much of it there will be; only of those that the reducers make."""
    n_records: int | None = None
    """About how many records there are; None where that is not known before they are read."""
    health: Mapping[str, Health] = field(default_factory=dict)
    """SAE → how it does on this data, counted by the reducers: kept with every shard, so that a run can go on."""


@dataclass(frozen=True)
class Finished:
    """A finished run: its directory, and what its `run.json` holds."""

    path: Path
    facts: Mapping[str, Any]
    was_complete: bool = False
    """Nothing had to be done: the run that was to be continued was complete."""
    is_plan: bool = False
    """Nothing was run, since only a plan was asked for: `facts` are the plan's."""


@dataclass
class Progress:
    """How far a run is; handed to `on_progress` after every batch and every rejected record."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    truncated: int = 0
    tokens: int = 0
    """Tokens of the sequences, each shared beginning counted once."""
    special_in_text: int = 0
    """Sequences whose text has special tokens typed into it."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why records were rejected, and how many for each reason."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Part of the work → how long it took; parts follow one another."""
    within: dict[str, float] = field(default_factory=dict)
    """What took its time inside another part (`encode`, in `reduce`) or beside them (`write`)."""
    notes: list[str] = field(default_factory=list)
    """What happened on the way that a person should know: damaged shards, memory that ran out."""

    def __post_init__(self) -> None:
        self.part = ""
        """Which part of the work is being timed now, for whoever shows it; not counted, and not kept with a shard."""

    def reject(self, reason: str) -> None:
        """Count one rejected record."""
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def add(self, now: "Progress", before: "Progress") -> None:
        """Count what another one has counted between `before` and `now`."""
        for name in ("read", "written", "rejected", "truncated", "tokens", "special_in_text"):
            setattr(self, name, getattr(self, name) + getattr(now, name) - getattr(before, name))
        for name in ("reasons", "seconds", "within"):
            own, new, old = getattr(self, name), getattr(now, name), getattr(before, name)
            own.update({key: own.get(key, 0) + value - old.get(key, 0) for key, value in new.items()})
        self.notes.extend(now.notes[len(before.notes) :])

    @contextmanager
    def timed(self, part: str, within: bool = False) -> Iterator[None]:
        """Add the time spent inside to `part`, of `seconds` or, where another part is timed already, of `within`."""
        start, times = time.perf_counter(), self.within if within else self.seconds
        before = self.part
        if not within:
            self.part = part
        try:
            yield
        finally:
            self.part = before
            times[part] = times.get(part, 0.0) + time.perf_counter() - start


OnProgress = Callable[[Progress], None]


class NothingKeptError(RunError):
    """No record of an input could be used."""


def nothing_kept(progress: Progress) -> NothingKeptError:
    """The error for a run in which no record could be used."""
    if not progress.read:
        return NothingKeptError("the input has no records", "is the file, or what is piped in, empty?")
    records = "1 record" if progress.read == 1 else f"{progress.read:,} records"
    return NothingKeptError(
        f"nothing was kept of {records}{reasons(progress)}",
        "--on-bad-record fail names the first of them, with line and field; --help says which fields are read",
    )


def reasons(progress: Progress) -> str:
    """The most common reasons why records were rejected, to end a sentence."""
    most = sorted(progress.reasons.items(), key=lambda item: -item[1])[:3]
    return ": " + "; ".join(f"{count} × {reason}" for reason, count in most) if most else ""
