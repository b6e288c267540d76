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
    """How the positions of a text are pooled into one row."""

    pool: Pool
    special: bool = False
    """Whether special tokens are pooled too."""


@dataclass(frozen=True)
class Rules:
    """The resolved settings that rows depend on, besides text, model and SAEs."""

    bos: Bos = "auto"
    """How plain text begins; where SAEs read it, as in their training, with a BOS or without."""
    chat: bool | None = None
    """Whether texts are rendered chats; None where a run may have both, and roles of tokens tell them apart."""
    top_k: int | None = None
    """Most features of a position; None where all active ones are kept."""
    threshold: float = 0.0
    """Features must be larger than this to be kept."""
    pooling: Pooling | None = None
    """None where nothing is pooled."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Rules":
        """Make the rules of a run from its `run.json`. Raises KeyError or TypeError for rules not made by `plain`."""
        rules = dict(facts["rules"])
        pooling = rules.pop("pooling")
        return cls(**rules, pooling=None if pooling is None else Pooling(**pooling))

    def plain(self) -> dict[str, Any]:
        """Return the rules as plain values, for `run.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Prepared:
    """One record, prepared: its sequences, and a row for each table that has one row a record."""

    sequences: Iterable[TokenSequence]
    """A list, or an iterable that makes the sequences anew each time: they are iterated more than once."""
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Facts of the record that the run counts: its shape, the fields that were read, those that were not."""


@dataclass(frozen=True)
class Recipe:
    """The parts of one command that `extract` calls."""

    command: str
    records: Callable[[], Records]
    prepare: Callable[[Record], Prepared]
    """Raises RecordError for a record that cannot be used."""
    reducers: Mapping[str, Reducer]
    """Table → the function that makes its rows of the kept activations."""
    rules: Rules = field(kw_only=True)
    """The resolved settings that rows depend on; `verify` reads them."""
    finish: Callable[[Path], Iterator[tuple[str, pa.Table | Groups]]] = lambda _run: iter(())
    """Compute further tables from the finished ones in a directory. Each time a table is yielded, one part is written;
    a mapping becomes a part with a row group for each entry. A table that shards have too replaces theirs, part by
    part, with equally many rows."""
    detected: Mapping[str, Any] = field(default_factory=dict)
    """Facts that were detected, not requested, such as the format of the input."""
    found: Callable[[], Mapping[str, Any]] = dict
    """Return counts for `run.json`; called at the end."""
    texts: Callable[[Path, Mapping[str, Any]], Mapping[str, str]] = lambda _run, _facts: {}
    """Make documents of the tables and the facts, to be written beside the tables at the end: name → text."""
    pools: bool = False
    """Whether positions are pooled. Then a record is rejected if a text of it has only special tokens and sinks."""
    kept_bytes: int | None = None
    """Bytes of one kept position until its shard is written; None for vectors of all hook points."""
    splits: bool = False
    """Whether a record may stand in several shards, since its sequences do not need one another."""
    unit: str = "record"
    """The word for a record in messages."""
    exports: tuple[str, ...] = ()
    """Formats of `actkit export` for the recipe's runs."""
    stored: Mapping[str, TableSize] = field(default_factory=dict)
    """Table → its expected size; only tables that the reducers make."""
    temporary: Callable[[int, int], int | None] = lambda _sequences, _positions: 0
    """Numbers of sequences and kept positions → about the most bytes of temporary files at once while `finish` works;
    None where that depends on which features fire."""
    n_records: int | None = None
    """The estimated number of records; None where it is unknown before they are read."""
    steering: Steering | None = None
    """Interventions under which every batch is run; then the reducers get log-probabilities in place of activations."""

    health: Mapping[str, Health] = field(default_factory=dict)
    """SAE → its health on this data, as the reducers count it. Shards keep the counts, so that a run can continue."""
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Function that `finish` calls → its settings besides the run. `run.json` keeps them: `verify` calls the function
    again."""

    def bytes_at(self, hook_points: Sequence[HookPoint], d_model: int) -> int:
        """Return the bytes that one kept position takes until its shard is written; vectors count as float32."""
        return self.kept_bytes or len(hook_points) * d_model * 4


@dataclass(frozen=True)
class Finished:
    """A finished run: its directory and the contents of its `run.json`."""

    path: Path
    facts: Mapping[str, Any] = field(repr=False)
    was_complete: bool = False
    """Whether the run to be continued was complete already, so that nothing was run."""
    is_plan: bool = False
    """Whether only a plan was requested, so that nothing was run: `facts` are the plan's."""
    task: Task | None = None
    """The task, of several, that computed its share of a run; `path` and `facts` are those of the share."""


MOST_LABELS = 10
"""Labels that an error lists."""


class NothingKeptError(RunError):
    """No record of an input could be used."""


def nothing_kept(progress: Progress) -> NothingKeptError:
    """Make the error for a run in which no record could be used."""
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
    """One run, ready to be computed. It does not say which process computes it."""

    recipe: Recipe
    model: Model
    hook_points: Sequence[HookPoint]
    """All hook points that are read: those whose activations are stored, and those that SAEs read."""
    output: OutputSpec
    batch: BatchSpec = field(default_factory=BatchSpec)
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options, name → plain value, for `run.json` and the fingerprint; see `recipes.asked`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name → text of each file that is written beside the tables when the run begins."""
