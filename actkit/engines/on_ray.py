"""`--engine ray`: the workers are tasks of Ray Core, on a cluster or on this machine."""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from typing import Any

from actkit.engines.driver import Common, Own, Pool, RunCommand, run_shared
from actkit.engines.work import DiedError, Work
from actkit.errors import ActkitError, RunError, UsageError, in_short, pip_install
from actkit.pipeline.recipe import Finished
from actkit.runs.progress import OnProgress


def run_on_ray(
    run: RunCommand[Own, Common],
    address: str | None,
    workers: int | None,
    own: Own,
    common: Common,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run a command's function on the cluster at `address`, or on this machine, and merge the workers' shares.

    Raises UsageError without Ray or for a missing cluster, RunError where Ray cannot start one here, and what
    `run_shared` raises.
    """
    return run_shared(partial(_cluster, address, workers), "--engine", run, own, common, on_progress)


@dataclass
class _Tasks:
    """A `Pool` of Ray tasks."""

    ray: Any
    remote: Any
    workers: int
    running: list[Any] = field(default_factory=list)

    def begin(self, work: Work) -> Any:
        self.running.append(self.remote.remote(work))
        return self.running[-1]

    def ended(self, seconds: float) -> Collection[Any]:
        done, self.running = self.ray.wait(self.running, timeout=seconds)
        return list(done)

    def result(self, worker: Any) -> ActkitError | None:
        try:
            error: ActkitError | None = self.ray.get(worker)
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as died:
            raise DiedError(type(died).__name__) from died
        return error

    def stop(self) -> None:
        for worker in self.running:
            self.ray.cancel(worker, force=True)
        if self.running:
            self.ray.wait(self.running, num_returns=len(self.running), timeout=10)


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Pool]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray", pip_install("'actkit[ray]'")) from error
    # Ray replaces the signal handlers that say how to continue the run: keep them.
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _joined(ray, address or os.environ.get("RAY_ADDRESS"), workers)
    try:
        for number, handler in kept.items():
            signal.signal(number, handler)
        # Ray prints messages about workers to standard output, where only the run's path belongs.
        with redirect_stdout(StringIO()):
            each, n = _room(ray, workers)
            yield _Tasks(ray, ray.remote(max_retries=0, **each)(Work.done), n)
    finally:
        ray.shutdown()


def _joined(ray: Any, address: str | None, workers: int | None) -> None:
    """Join the cluster at `address`, or start one on this machine. Raises UsageError or RunError where that fails."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    # Without an address Ray would join any cluster on this machine; "local" starts a new one.
    new = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**quiet, **(new if address is None else {"address": address}))
    except Exception as error:  # Ray's parts raise anything: a full disk, another user's folder, no answer
        ray.shutdown()
        why = in_short(" ".join(str(error).split()) or type(error).__name__)
        if address is not None:
            raise UsageError(
                f"--engine ray: no cluster at {address} ({why})", "ray status names its address"
            ) from error
        raise RunError(
            f"--engine ray: Ray cannot start a cluster on this machine ({why})",
            "set RAY_TMPDIR to a folder of yours that has room and a short path; or start the workers without Ray: "
            f"--shard auto --workers {workers or 2}",
        ) from error


def _room(ray: Any, workers: int | None) -> tuple[dict[str, float], int]:
    """Each worker's resources, and the number of workers: as asked, or one for each GPU, or else for each CPU."""
    has = ray.cluster_resources()
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 1))
    n = workers or gpus or cpus
    each: dict[str, float] = {"num_cpus": max(cpus // max(n, 1), 1)}
    return (each | {"num_gpus": 1} if gpus else each), n
