"""`--engine ray`: tasks of Ray Core compute the shares of a run, each with a model of its own; then they are merged.

A worker does what `--shard I/N --resume` does, so that nothing of a table passes through Ray. One that dies, or whose
node is lost, is begun again where there is room, and goes on after its last finished shard.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from actkit.backends import describe
from actkit.config import ModelSpec, OutputSpec, ReadSpec, Task
from actkit.engines.shares import FinishedShards, divided, is_done, next_of, release
from actkit.errors import ActkitError, RunError, UsageError
from actkit.pipeline.input.reader import records_about
from actkit.pipeline.recipe import Finished
from actkit.pipeline.resume.session import asked_before, is_complete
from actkit.pipeline.tokens.templates import DatedTokenizer, date_of
from actkit.recipes.asked import source_of
from actkit.recipes.specs import CommonSpec, FollowSpec, OwnSpec
from actkit.runs.paths import is_unfinished_run, partial_of, task_of
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.removal import check_out
from actkit.runs.tasks import divisions, gather, remove_shares

DEATHS = 3
"""So many workers may die of a share without a shard finished in between; then the run stops."""
EVERY = 1.0
"""Seconds between looks at how far the workers are."""

Own = TypeVar("Own", bound=OwnSpec)
Common = TypeVar("Common", bound=CommonSpec | FollowSpec)


@dataclass
class _Workers:
    """The workers of a run that is going on."""

    ray: Any
    begin: Callable[[Task, bool], Any]
    """Starts a worker; whether it goes on with a share that was begun."""
    output: OutputSpec
    running: dict[Any, Task] = field(default_factory=dict)
    deaths: dict[Task, tuple[int, int]] = field(default_factory=dict)
    """Task → the shard at which its worker died, and how often."""
    notes: list[str] = field(default_factory=list)

    def start(self, task: Task, again: bool) -> None:
        self.running[self.begin(task, again)] = task

    def take(self, ended: Any) -> None:
        """What became of a worker that has ended. Raises what it was ended by, unless it is begun again."""
        task = self.running.pop(ended)
        try:
            error = self.ray.get(ended)
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as died:
            self._died(task, type(died).__name__)
        else:
            if error is not None:
                raise error

    def _died(self, task: Task, how: str) -> None:
        shard = next_of(self.output, task)
        before, times = self.deaths.get(task, (shard, 0))
        times = times + 1 if before == shard else 1
        self.deaths[task] = shard, times
        if times >= DEATHS:
            raise RunError(
                f"shard {shard} of {self.output.out} ended its worker {times} times ({how})",
                f"what it holds, or memory, may be the cause; alone: the same command with --shard {task} --resume "
                "in place of --engine",
            )
        self.notes.append(f"the worker of task {task} ended at shard {shard} ({how}); another one goes on with it")
        release(self.output, task)
        self.start(task, again=True)

    def stop(self) -> None:
        for worker in self.running:
            self.ray.cancel(worker, force=True)
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=10)


def run_on_ray(
    run: Callable[[Own, Common, OnProgress], Finished],
    address: str | None,
    workers: int | None,
    own: Own,
    common: Common,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run a command's function on the cluster at `address`, or on this machine, and merge what its workers made.

    Raises UsageError without Ray and where there is no such cluster, RunError for a shard that ends its worker again
    and again, and the ActkitError that a worker met.
    """
    output = common.output
    if output.plan_only or is_complete(output):
        return run(own, common, on_progress)
    check_out(output.out, output.overwrite, output.resume)
    if is_unfinished_run(partial_of(output.out)):  # all shares were there, and were being merged
        if not divisions(output.out):
            raise RunError(f"{partial_of(output.out)} was begun by one process", "continue it without --engine")
    else:
        own = _dated(own, common)
        with _cluster(address, workers) as ray:
            _compute(ray, run, own, common, workers, on_progress)
    gather(output.out)
    finished = run(own, replace(common, output=replace(output, resume=True, overwrite=False)), on_progress)
    remove_shares(output.out)
    return finished


def _compute(
    ray: Any,
    run: Callable[[Own, Common, OnProgress], Finished],
    own: Own,
    common: Common,
    workers: int | None,
    on_progress: OnProgress,
) -> None:
    output, each, n = common.output, *_room(ray, workers)
    folder, share = str(Path.cwd()), ray.remote(max_retries=0, **each)(_share)

    def begin(task: Task, again: bool) -> Any:
        out = task_of(output.out, task.number, task.of)
        resume = partial_of(out).exists() if again else output.resume
        own_output = replace(output, out=out, task=task, resume=resume, overwrite=output.overwrite and not resume)
        return share.remote(run, own, replace(common, output=own_output), folder)

    tasks = divided(output.out, n) if output.resume else [Task(number, n) for number in range(n)]
    made, progress, shards = _Workers(ray, begin, output), Progress(), FinishedShards(output, tasks)
    progress.total, progress.part = _records(own, output), "forward"
    try:
        for task in tasks:
            if not (output.resume and is_done(output, task)):
                made.start(task, again=False)
        while made.running:
            ended, _ = ray.wait(list(made.running), timeout=EVERY)
            for worker in ended:
                made.take(worker)
            progress.computed, progress.tokens = shards.counted()
            progress.notes = list(made.notes)
            on_progress(progress)
    finally:
        made.stop()


def _share(run: Any, own: Any, common: Any, folder: str) -> ActkitError | None:
    """What a worker does; an error of ours is returned, since Ray would wrap it."""
    os.chdir(folder)
    try:
        run(own, common, lambda _progress: None)
    except ActkitError as error:
        return error
    return None


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray", "pip install 'actkit[ray]'") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    own = {"num_cpus": workers, "include_dashboard": False} if address is None else {"address": address}
    # Ray puts a handler of its own in the place of the one that says how to continue.
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**quiet, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"--engine ray: no cluster at {address} ({error})", "ray status names its address") from error
    try:
        for number, handler in kept.items():
            signal.signal(number, handler)
        # Ray prints what became of a worker to standard output, which is the run's path alone.
        with redirect_stdout(StringIO()):
            yield ray
    finally:
        ray.shutdown()


def _room(ray: Any, workers: int | None) -> tuple[dict[str, float], int]:
    """What each worker takes of the cluster, and how many there are: one a GPU, or else one a CPU."""
    has = ray.cluster_resources()
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 1))
    n = workers or gpus or cpus
    each: dict[str, float] = {"num_cpus": max(cpus // max(n, 1), 1)}
    return (each | {"num_gpus": 1} if gpus else each), n


def _dated(own: Own, common: CommonSpec | FollowSpec) -> Own:
    """The same date for every worker, where a chat template asks for it: that of the shares that are there already."""
    tokens = getattr(own, "tokens", None)
    model = getattr(common, "model", None)
    if tokens is None or tokens.date is not None or not isinstance(model, ModelSpec):
        return own
    output = common.output
    known = divisions(output.out) if output.resume else {}
    before = [asked_before(replace(output, task=Task(0, of)), "date") for of in known]
    tokenizer = DatedTokenizer(describe(model).tokenizer, date_of(next(iter(before), None)))
    return replace(own, tokens=replace(tokens, date=tokenizer.date)) if tokenizer.reads_clock else own


def _records(own: OwnSpec, output: OutputSpec) -> int | None:
    """About how many records there are."""
    source = source_of(own)
    about = records_about(source, getattr(own, "read", ReadSpec())) if source is not None else None
    return min((number for number in (about, output.max_records) if number is not None), default=None)
