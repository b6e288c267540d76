"""`--shard`, `--engine`, `--workers`: the share of a run that this process computes, or the engine for workers."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from actkit.config import Task
from actkit.errors import UsageError, in_short, pip_install

SCHEDULERS: tuple[tuple[str, str, str, str], ...] = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", ""),
    ("SGE_TASK_ID", "SGE_TASK_LAST", "SGE_TASK_FIRST", ""),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("RANK", "WORLD_SIZE", "", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_NTASKS", "", "SLURM_LOCALID"),
)
"""For each scheduler the variables with the process's number, the count, the number of the first process, and the
number on this machine. Without the third, numbers begin at 0; without the fourth, a machine has one process."""


def task_of_text(text: str | None, workers: int | None = None) -> Task | None:
    """Read `--shard`: `2/8`, counted from 0, or `auto`, the scheduler's; None where this process starts `workers`.

    Raises UsageError for any other text.
    """
    if text is None or starts_workers(text, workers):
        return None
    if _is_auto(text):
        return _scheduled(os.environ)
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if found is None or not int(found[2]):
        raise UsageError(f"--shard {in_short(text)} is no share", "such as 0/4 for the first of four tasks, or auto")
    number, of = int(found[1]), int(found[2])
    if number >= of:
        raise UsageError(f"--shard {number}/{of}: tasks count from 0", f"they are 0/{of} to {of - 1}/{of}")
    return Task(number, of)


def starts_workers(text: str | None, workers: int | None) -> bool:
    """Whether this process has to start workers: `auto`, and no scheduler has started tasks already.

    A scheduler's task that has several GPUs of a machine starts as many workers as `--workers` says.
    """
    return text is not None and _is_auto(text) and (workers is not None or _scheduled(os.environ) is None)


def place_on_this_machine(text: str | None) -> int | None:
    """Number of this process among those of this machine, from 0, where a scheduler gives it; else None."""
    if text is None or not _is_auto(text):
        return None
    started = (local for own, count, _, local in SCHEDULERS if own in os.environ and count in os.environ)
    place = os.environ.get(next(started, ""), "")
    return int(place) if place.isdigit() else None


def _is_auto(text: str) -> bool:
    return text.strip().lower() == "auto"


def _scheduled(variables: Mapping[str, str]) -> Task | None:
    for own, count, first, _ in SCHEDULERS:
        said = [variables.get(name, "") for name in (own, count, *([first] if first else []))]
        if not all(each.isdigit() for each in said):
            continue
        number, of = int(said[0]) - (int(said[2]) if first else 0), int(said[1])
        step = int(variables.get("SLURM_ARRAY_TASK_STEP", "1") or 1) if own == "SLURM_ARRAY_TASK_ID" else 1
        if step > 0 and number % step == 0 and 0 <= number // step < of:
            return Task(number // step, of)
        raise UsageError(
            f"--shard auto: {own} is {said[0]}, {count} {said[1]}", "give the share itself, such as --shard 0/4"
        )
    return None


@dataclass(frozen=True)
class Engine:
    """An engine that starts workers: as many as `workers`, or one a GPU."""

    flag: str
    """The option that asks for it: `--engine` is Ray, `--shard auto` processes of this machine."""
    workers: int | None
    address: str | None = None
    """Address of a Ray cluster; None starts a cluster on this machine for the run alone."""
    part: Task | None = None
    """The task whose share these workers divide, where a scheduler started several; None for a whole run."""

    @property
    def is_ray(self) -> bool:
        """Whether Ray runs the workers."""
        return self.flag == RAY


RAY, OWN = "--engine", "--shard auto"


def engine_of(text: str | None, workers: int | None, shard: str | None) -> Engine | None:
    """Read `--engine`, `--workers` and `--shard`. Raises UsageError for an engine not known or not installed."""
    if text is None:
        if starts_workers(shard, workers):
            task = _scheduled(os.environ)
            return Engine(OWN, workers, part=task if task is not None and task.of > 1 else None)
        if workers is not None:
            raise UsageError(
                "--workers without --engine or --shard auto", "--shard auto --workers 4 starts four on this machine"
            )
        return None
    name, colon, address = text.strip().partition(":")
    if name.lower() != "ray" or (colon and not address):
        raise UsageError(f"--engine {in_short(text)} is not known", "ray, or ray:ADDRESS such as ray:10.0.0.7:6379")
    if find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray", pip_install("'actkit[ray]'"))
    return Engine(RAY, workers, address or None)
