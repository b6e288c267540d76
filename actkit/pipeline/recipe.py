"""`Recipe`: the parts of a command that `extract` calls. `Job`: a recipe with its model. `Finished`: the result.

`Rules`: the settings that a recipe's rows depend on. `run.json` keeps them, and `verify` reads them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.backends import Model
from actkit.config import BatchSpec, Bos, OutputSpec, Pool, Task
from actkit.errors import RunError, in_short, listed
from actkit.hooks import HookPoint
from actkit.pipeline.data import Record, TokenSequence
from actkit.pipeline.forward.steered import Steering
from actkit.pipeline.input.records import Records
from actkit.pipeline.reducers.activations import Reducer, TableSize
from actkit.pipeline.reducers.sae_health import Health
from actkit.pipeline.rejections import remedy
from actkit.runs.progress import Progress, reasons
from actkit.runs.writer import Groups


@dataclass(frozen=True)
class Pooling:
    """The pooling of the positions of a text into one."""

    pool: Pool
    special: bool = False
    """Whether special tokens are pooled too."""


@dataclass(frozen=True)
class Rules:
    """Settings that rows depend on beside text, model and SAEs, as they were resolved."""

    bos: Bos = "auto"
    """How plain text begins: where SAEs were trained with BOS, or without, as they were."""
    chat: bool | None = None
    """Whether texts are renderings of chats; None where a run may have both, and the roles of tokens tell."""
    top_k: int | None = None
    """Most features of a position; None where all active ones are kept."""
    threshold: float = 0.0
    """Features that are no larger are not kept."""
    pooling: Pooling | None = None
    """None where nothing is pooled."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Rules":
        """Make the rules of a run from its `run.json`. Raises KeyError and TypeError for what `plain` did not make."""
        rules = dict(facts["rules"])
        pooling = rules.pop("pooling")
        return cls(**rules, pooling=None if pooling is None else Pooling(**pooling))

    def plain(self) -> dict[str, Any]:
        """The rules as plain values, for `run.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Prepared:
    """One record, prepared: its sequences, and a row for each table that has one row a record."""

    sequences: Iterable[TokenSequence]
    """A list, or an iterable that makes them anew each time: they are gone through more than once."""
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Counted facts of the record: its shape, the fields that were read, those that were left."""


@dataclass(frozen=True)
class Recipe:
    """The parts of one command that `extract` calls."""

    command: str
    records: Callable[[], Records]
    prepare: Callable[[Record], Prepared]
    """Raises RecordError for a record that cannot be used."""
    reducers: Mapping[str, Reducer]
    """Table → how the kept activations become its rows."""
    rules: Rules = field(kw_only=True)
    """The recipe's decisions on rows; `verify` reads them."""
    finish: Callable[[Path], Iterator[tuple[str, pa.Table | Groups]]] = lambda _run: iter(())
    """Tables computed from the finished ones in the directory that it is given. A table that is yielded several times
    is written in as many parts, a mapping in as many row groups. A table that shards have too replaces theirs, part by
    part, with as many rows."""
    detected: Mapping[str, Any] = field(default_factory=dict)
    """Facts that were detected, not requested, such as the format of the input."""
    found: Callable[[], Mapping[str, Any]] = dict
    """Counts for `run.json`, asked for at the end."""
    texts: Callable[[Path, Mapping[str, Any]], Mapping[str, str]] = lambda _run, _facts: {}
    """Documents to be written beside the tables at the end, from the tables and the facts: name → text."""
    pools: bool = False
    """Whether positions are pooled. Then a record with a text of nothing but special tokens and sinks is rejected."""
    kept_bytes: int | None = None
    """Bytes of one kept position until its shard is written; None for vectors of all hook points."""
    splits: bool = False
    """Whether a record may stand in several shards, since its sequences do not need one another."""
    unit: str = "record"
    """The word for a record in messages."""
    exports: tuple[str, ...] = ()
    """Formats of `actkit export` that fit its runs."""
    stored: Mapping[str, TableSize] = field(default_factory=dict)
    """Table → how much of it there will be; only of those that the reducers make."""
    temporary: Callable[[int, int], int | None] = lambda _sequences, _positions: 0
    """Sequences and kept positions → about the most bytes of temporary files in the run at once while `finish` works;
    None where that depends on what fires."""
    n_records: int | None = None
    """About how many records there are; None where that is not known before they are read."""
    steering: Steering | None = None
    """Interventions under which every batch is run; then the reducers get log-probabilities in place of activations."""

    health: Mapping[str, Health] = field(default_factory=dict)
    """SAE → how it does on this data, counted by the reducers: kept with every shard, so that a run can go on."""
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Function that `finish` calls → the settings that it gets beside the run. `run.json` keeps them, so that `verify`
    can call it again."""

    def bytes_at(self, hook_points: Sequence[HookPoint], d_model: int) -> int:
        """Bytes of one kept position until its shard is written, of vectors in float32 where vectors are kept."""
        return self.kept_bytes or len(hook_points) * d_model * 4


@dataclass(frozen=True)
class Finished:
    """A finished run: its directory, and what its `run.json` holds."""

    path: Path
    facts: Mapping[str, Any] = field(repr=False)
    was_complete: bool = False
    """Nothing had to be done: the run that was to be continued was complete."""
    is_plan: bool = False
    """Nothing was run, since only a plan was asked for: `facts` are the plan's."""
    task: Task | None = None
    """One of several tasks has computed its share, which `path` holds; `facts` are of that share."""


MOST_LABELS = 10
"""Labels that an error lists."""


class NothingKeptError(RunError):
    """No record of an input could be used."""


def nothing_kept(progress: Progress) -> NothingKeptError:
    """The error for a run in which no record could be used."""
    if not progress.read:
        return NothingKeptError("the input has no records", "is the file, or what is piped in, empty?")
    records = "1 record" if progress.read == 1 else f"{progress.read:,} records"
    labels = progress.seen.get("rejected_labels", {})
    most = sorted(labels.items(), key=lambda item: -item[1])
    there = listed([f"{in_short(label)} ({count:,})" for label, count in most], MOST_LABELS)
    return NothingKeptError(
        f"nothing was kept of {records}{reasons(progress)}; the first: {progress.first_rejected}",
        f"the labels are {there}: --positive and --negative name those that count, each repeatable"
        if labels
        else remedy(progress.first_rejected) or "actkit peek FILE shows what the file has, and which command reads it",
    )


@dataclass(frozen=True)
class Job:
    """One run, ready to be computed. Who computes it, and where, is no part of it."""

    recipe: Recipe
    model: Model
    hook_points: Sequence[HookPoint]
    """All that are read: those whose activations are stored, and those that SAEs read."""
    output: OutputSpec
    batch: BatchSpec = field(default_factory=BatchSpec)
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options, name → plain value, for `run.json` and the fingerprint; see `recipes.asked`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name → text of what is written beside the tables when the run begins."""
