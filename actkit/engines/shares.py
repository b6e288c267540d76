"""A run's shares as its workers leave them: how far each is, what is missing, and where a worker stopped."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from actkit.config import OutputSpec, Task
from actkit.runs.lock import LOCK
from actkit.runs.manifest import manifests, read
from actkit.runs.paths import SHARDS, TASK_FILE, numbered, partial_of, task_of


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
    have, number = {manifest.part for manifest in found}, task.number
    while number in have:
        number += task.of
    return number


def release(output: OutputSpec, task: Task) -> None:
    """Remove the lock of a worker that is known to have ended, which another host could not tell."""
    with suppress(OSError):
        (share_of(output, task) / LOCK).unlink()
