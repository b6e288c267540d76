"""Share a run out among workers, each with a share as with `--shard I/N` and its own model; then merge the shares.

A `Pool` runs the workers: tasks of Ray (`on_ray`), or child processes (`children`). No table passes through it. A
worker that ends early is started again, and continues after its last finished shard.
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
"""The run stops once so many workers of one share have died at the same shard."""
EVERY = 1.0
"""Seconds between reports of progress."""

Own = TypeVar("Own", bound=OwnSpec)
Common = TypeVar("Common", bound=CommonSpec | FollowSpec)
RunCommand = Callable[[Own, Common, OnProgress], Finished]


class Pool(Protocol):
    """A pool that runs workers."""

    workers: int
    """The number of shares into which this pool divides a run."""

    def begin(self, work: Work) -> Any:
        """Start a worker, now or as soon as the pool has room; return its handle."""

    def ended(self, seconds: float) -> Collection[Any]:
        """Wait up to `seconds` for workers to end; return the handles of those that have, each once."""

    def result(self, worker: Any) -> ActkitError | None:
        """Return the answer of a worker that has ended. Raises DiedError, or an unexpected error of the worker."""

    def stop(self) -> None:
        """End all workers at once; their finished shards are on disk."""


@dataclass
class _Workers:
    """The workers of a run in progress."""

    pool: Pool
    run: Callable[..., Finished]
    own: OwnSpec
    common: CommonSpec | FollowSpec
    flag: str
    running: dict[Any, Task] = field(default_factory=dict)
    deaths: dict[Task, tuple[int, int]] = field(default_factory=dict)
    """Task → the shard at which its last worker died, and how many died there."""
    notes: list[str] = field(default_factory=list)

    def compute(self, tasks: Sequence[Task], on_progress: OnProgress) -> None:
        """Compute the shares of `tasks`. Raises the error of a worker that is not started again."""
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
        """Start a worker for a task; with `again` it continues the task's share, if there is one."""
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
    """Run a command's function on the workers of a pool, and merge their shares; errors name the option `flag`.

    `part` is this task, where several tasks divide the run, each with as many workers: then nothing is merged.

    Raises RunError for a shard at which `DEATHS` workers died, the ActkitError of a worker, and what `pool_of` raises.
    """
    output = common.output
    if output.plan_only or is_complete(output):
        return run(own, common, on_progress)
    check_out(output.out, output.overwrite, output.resume)
    if part is None and is_unfinished_run(partial_of(output.out)):  # an earlier process was merging all shares
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
    """The tasks of the workers: within `part`, or of the run's existing division on resume, or of a new one."""
    number, of = (0, 1) if part is None else (part.number, part.of)
    if part is None and output.resume:
        workers = next(iter(divisions(output.out)), workers)
    return [Task(number * workers + at, of * workers) for at in range(workers)]


def dated(own: Own, common: CommonSpec | FollowSpec) -> Own:
    """Fix the date for all workers if the chat template reads the clock: on resume, the date of existing shares."""
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
    """About how many records there are; None where that is unknown, or the command reads a run."""
    if isinstance(common, FollowSpec):
        return None
    source = source_of(own)
    about = records_about(source, getattr(own, "read", ReadSpec())) if source is not None else None
    return min((number for number in (about, common.output.max_records) if number is not None), default=None)


def share_of(output: OutputSpec, task: Task) -> Path:
    """The path of a task's share until it is merged."""
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
    """Path of a manifest → its records and tokens; each manifest is read once."""

    def counted(self) -> tuple[int, int]:
        """Count the records and tokens."""
        for task in self.tasks:
            for path in numbered(share_of(self.output, task) / SHARDS, ".json"):
                if path not in self._counts:
                    with suppress(OSError, ValueError):  # damaged: the next worker computes it again
                        counts = read(path).progress
                        self._counts[path] = counts.read, counts.tokens
        records, tokens = zip(*self._counts.values(), strict=True) if self._counts else ((), ())
        return sum(records), sum(tokens)


def next_of(output: OutputSpec, task: Task) -> int:
    """The first unfinished shard of a share, at which its worker was."""
    found, _ = manifests(share_of(output, task), task)
    have = {manifest.part for manifest in found}
    return next(number for number in count(task.number, task.of) if number not in have)


def release(output: OutputSpec, task: Task) -> None:
    """Remove the lock of an ended worker: a worker on another host could not find out that it has ended."""
    with suppress(OSError):
        (share_of(output, task) / LOCK).unlink()
