"""A run shared out among workers, each with a share as of `--shard I/N` and a model of its own; then it is merged.

A `Pool` runs the workers: tasks of Ray (`on_ray`), or processes of this machine (`children`). Nothing of a table
passes through it. A worker that ends early is begun again, and goes on after its last finished shard.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from actkit.backends import describe
from actkit.config import ModelSpec, OutputSpec, ReadSpec, Task
from actkit.engines.work import DiedError, Work
from actkit.errors import ActkitError, RunError
from actkit.pipeline.input.reader import records_about
from actkit.pipeline.recipe import Finished
from actkit.pipeline.resume.session import date_before, is_complete
from actkit.pipeline.tokens.templates import DatedTokenizer, date_of
from actkit.recipes.asked import source_of
from actkit.recipes.specs import CommonSpec, FollowSpec, OwnSpec
from actkit.runs.lock import LOCK
from actkit.runs.manifest import manifests, read
from actkit.runs.paths import SHARDS, TASK_FILE, is_unfinished_run, numbered, partial_of, task_of
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.removal import check_out
from actkit.runs.tasks import divisions, gather, remove_shares

DEATHS = 3
"""The run stops once so many workers have died of one share without finishing a shard in between."""
EVERY = 1.0
"""Seconds between looks at how far the workers are."""

Own = TypeVar("Own", bound=OwnSpec)
Common = TypeVar("Common", bound=CommonSpec | FollowSpec)
RunCommand = Callable[[Own, Common, OnProgress], Finished]


class Pool(Protocol):
    """A pool that runs workers."""

    workers: int
    """The number of shares into which a run is divided."""

    def begin(self, work: Work) -> Any:
        """Start a worker, now or as soon as there is room for it; return its handle."""

    def ended(self, seconds: float) -> Collection[Any]:
        """Workers that have ended, each once, waited for no longer than this."""

    def result(self, worker: Any) -> ActkitError | None:
        """The answer of a worker that has ended. Raises DiedError, or the error that ended the worker."""

    def stop(self) -> None:
        """End all workers at once: what they have finished is on disk."""


@dataclass
class _Workers:
    """The workers of a run that is going on."""

    pool: Pool
    run: Callable[..., Finished]
    own: OwnSpec
    common: CommonSpec | FollowSpec
    flag: str
    running: dict[Any, Task] = field(default_factory=dict)
    deaths: dict[Task, tuple[int, int]] = field(default_factory=dict)
    """Task → the shard at which its worker died, and how often."""
    notes: list[str] = field(default_factory=list)

    def compute(self, tasks: Sequence[Task], on_progress: OnProgress) -> None:
        """Have the shares of `tasks` computed. Raises the error that ended a worker for good."""
        output, shards = self.common.output, FinishedShards(self.common.output, tasks)
        progress = Progress()
        progress.total, progress.part = _records(self.own, self.common), "forward"
        try:
            for task in tasks:
                if not (output.resume and is_done(output, task)):
                    self.start(task, again=False)
            while self.running:
                for worker in self.pool.ended(EVERY):
                    self.take(worker)
                progress.computed, progress.tokens = shards.counted()
                progress.notes = list(self.notes)
                on_progress(progress)
        finally:
            self.pool.stop()

    def start(self, task: Task, again: bool) -> None:
        """Start a worker; `again` continues its share, where one was begun."""
        output = self.common.output
        out = task_of(output.out, task.number, task.of)
        resume = partial_of(out).exists() if again else output.resume
        own_output = replace(output, out=out, task=task, resume=resume, overwrite=output.overwrite and not resume)
        work = Work(self.run, self.own, replace(self.common, output=own_output), str(Path.cwd()))
        self.running[self.pool.begin(work)] = task

    def take(self, ended: Any) -> None:
        """Handle the end of a worker. Raises the error that ended it, unless the worker is started again."""
        task = self.running.pop(ended)
        try:
            error = self.pool.result(ended)
        except DiedError as died:
            self._died(task, str(died))
        else:
            if error is not None:
                raise error

    def _died(self, task: Task, how: str) -> None:
        output = self.common.output
        shard = next_of(output, task)
        before, times = self.deaths.get(task, (shard, 0))
        times = times + 1 if before == shard else 1
        self.deaths[task] = shard, times
        if times >= DEATHS:
            raise RunError(
                f"shard {shard} of {output.out} ended its worker {times} times ({how})",
                "what it holds, or memory, may be the cause; alone: the same command with "
                f"--shard {task.number}/{task.of} --resume in place of {self.flag}",
            )
        self.notes.append(f"the worker of task {task} ended at shard {shard} ({how}); another one goes on with it")
        release(output, task)
        self.start(task, again=True)


def run_shared(
    pool_of: Callable[[], AbstractContextManager[Pool]],
    flag: str,
    run: RunCommand[Own, Common],
    own: Own,
    common: Common,
    on_progress: OnProgress = lambda _progress: None,
    part: Task | None = None,
) -> Finished:
    """Run a command's function with the workers of a pool, and merge what they made; errors name the option `flag`.

    `part` is this task, where several tasks do so together, each with as many workers: then nothing is merged.

    Raises RunError for a shard that ends its worker again and again, the ActkitError that a worker met, and what
    `pool_of` raises.
    """
    output = common.output
    if output.plan_only or is_complete(output):
        return run(own, common, on_progress)
    check_out(output.out, output.overwrite, output.resume)
    if part is None and is_unfinished_run(partial_of(output.out)):  # all shares were there, and were being merged
        if not divisions(output.out):
            raise RunError(f"{partial_of(output.out)} was begun by one process", f"continue it without {flag}")
    else:
        own = dated(own, common)
        with pool_of() as pool:
            tasks = _tasks(output, pool.workers, part)
            _Workers(pool, run, own, common, flag).compute(tasks, on_progress)
        if part is not None:
            return Finished(share_of(output, tasks[0]), {}, task=part)
    gather(output.out)
    finished = run(own, replace(common, output=replace(output, resume=True, overwrite=False)), on_progress)
    remove_shares(output.out)
    return finished


def _tasks(output: OutputSpec, workers: int, part: Task | None) -> list[Task]:
    """The tasks of `workers`: of `part`, of the division that a run began with, or of a new one."""
    number, of = (0, 1) if part is None else (part.number, part.of)
    if part is None and output.resume:
        workers = next(iter(divisions(output.out)), workers)
    return [Task(number * workers + at, of * workers) for at in range(workers)]


def dated(own: Own, common: CommonSpec | FollowSpec) -> Own:
    """The same date for every worker, where a chat template asks for it: that of the shares that are there already."""
    tokens = getattr(own, "tokens", None)
    model = getattr(common, "model", None)
    if tokens is None or tokens.date is not None or not isinstance(model, ModelSpec):
        return own
    output = common.output
    known = divisions(output.out) if output.resume else {}
    before = [date_before(replace(output, task=Task(0, of))) for of in known]
    tokenizer = DatedTokenizer(describe(model).tokenizer, date_of(next(iter(before), None)))
    return replace(own, tokens=replace(tokens, date=tokenizer.date)) if tokenizer.reads_clock else own


def _records(own: OwnSpec, common: CommonSpec | FollowSpec) -> int | None:
    """About how many records there are; None where what the command reads is a run."""
    if isinstance(common, FollowSpec):
        return None
    source = source_of(own)
    about = records_about(source, getattr(own, "read", ReadSpec())) if source is not None else None
    return min((number for number in (about, common.output.max_records) if number is not None), default=None)


def share_of(output: OutputSpec, task: Task) -> Path:
    """The path of the share of a task until it is merged."""
    return partial_of(task_of(output.out, task.number, task.of))


def is_done(output: OutputSpec, task: Task) -> bool:
    """Whether a task has computed all of its share."""
    return (share_of(output, task) / TASK_FILE).exists()


@dataclass
class FinishedShards:
    """Counts of records and tokens in the shards that the workers have finished so far."""

    output: OutputSpec
    tasks: Sequence[Task]
    _counts: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Manifest → its records and tokens: each is read once, however often it is asked."""

    def counted(self) -> tuple[int, int]:
        """Records and tokens."""
        for task in self.tasks:
            for path in numbered(share_of(self.output, task) / SHARDS, ".json"):
                if path not in self._counts:
                    with suppress(OSError, ValueError):  # damaged: whoever goes on with the share computes it again
                        counts = read(path).progress
                        self._counts[path] = counts.read, counts.tokens
        records, tokens = zip(*self._counts.values(), strict=True) if self._counts else ((), ())
        return sum(records), sum(tokens)


def next_of(output: OutputSpec, task: Task) -> int:
    """The first shard of a share that is not finished: where its worker was."""
    found, _ = manifests(share_of(output, task), task)
    have = {manifest.part for manifest in found}
    return next(number for number in count(task.number, task.of) if number not in have)


def release(output: OutputSpec, task: Task) -> None:
    """Remove the lock of a worker that has ended: a worker on another host could not tell that it has."""
    with suppress(OSError):
        (share_of(output, task) / LOCK).unlink()
