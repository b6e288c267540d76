"""A run's shares as its workers leave them: how far each is, what is missing, and where a worker stopped."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from actkit.config import OutputSpec, Task
from actkit.runs.lock import LOCK
from actkit.runs.manifest import Manifest, manifests
from actkit.runs.paths import TASK_FILE, partial_of, task_of
from actkit.runs.tasks import divisions


def divided(out: Path, workers: int) -> list[Task]:
    """The tasks of a run: those into which it was divided when it was begun, or else one a worker."""
    of = next(iter(divisions(out)), workers)
    return [Task(number, of) for number in range(of)]


def share_of(output: OutputSpec, task: Task) -> Path:
    """Where a task leaves its share until it is merged."""
    return partial_of(task_of(output.out, task.number, task.of))


def is_done(output: OutputSpec, task: Task) -> bool:
    """Whether a task has computed all of its share."""
    return (share_of(output, task) / TASK_FILE).exists()


def finished_of(output: OutputSpec, tasks: Sequence[Task]) -> dict[Task, list[Manifest]]:
    """Task → the manifests of the shards that it has finished."""
    return {task: manifests(share_of(output, task), task)[0] for task in tasks}


def next_of(task: Task, finished: Sequence[Manifest]) -> int:
    """The first shard of a share that is not finished: where its worker was."""
    have, number = {manifest.part for manifest in finished}, task.number
    while number in have:
        number += task.of
    return number


def release(output: OutputSpec, task: Task) -> None:
    """Remove the lock of a worker that is known to have ended, which another host could not tell."""
    with suppress(OSError):
        (share_of(output, task) / LOCK).unlink()
