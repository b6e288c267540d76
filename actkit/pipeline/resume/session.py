"""Decide at which shard a run begins (first, after its last finished one, or none), and check that it ends complete.

From the beginning, `<out>.partial/fingerprint.json` holds the settings that a run was begun with; see `fingerprint`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from actkit.config import OutputSpec, Task
from actkit.errors import RunError
from actkit.pipeline.data import Ints
from actkit.pipeline.forward.batches import Budget
from actkit.pipeline.recipe import Job, Recipe
from actkit.pipeline.resume.fingerprint import check_same
from actkit.runs.atomic_files import Written, of_file
from actkit.runs.facts import Begun, facts_of, read_begun
from actkit.runs.lock import locked
from actkit.runs.manifest import InputPosition, Manifest, finished, load_states, manifests
from actkit.runs.part import read_part
from actkit.runs.paths import (
    FINGERPRINT,
    LOG_FILE,
    RUN_FILE,
    SHARDS,
    numbered,
    part_name,
    part_number,
    partial_of,
    task_of,
    whole_of,
)
from actkit.runs.progress import COUNTERS, Progress
from actkit.runs.reader import parts
from actkit.runs.removal import check_out, clear, tidy
from actkit.runs.writer import RunDirectory, gone_if_empty, start_run


@dataclass
class Session:
    """A run that this process writes."""

    directory: RunDirectory
    progress: Progress
    budget: Budget
    replaces: bool
    """Whether this process, or the one that began the run, was told to replace a finished run at the same path."""
    sessions: list[Mapping[str, Any]]
    """For each process that wrote this run: its time of start, device, batch budget, and version of torch."""
    done: dict[int, InputPosition] = field(default_factory=dict)
    """Number of each shard finished before → the position in the input at which it ends."""


def is_complete(output: OutputSpec) -> bool:
    """Whether `output` is to continue a run that is complete already, so that no record has to be read."""
    out = whole_of(output.out, output.task)
    return output.resume and not partial_of(output.out).exists() and (out / RUN_FILE).exists()


def date_before(output: OutputSpec) -> Any:
    """Return the date that templates saw in the run to be continued, or in another task of it; None without one."""
    before = (partial_of(output.out) / FINGERPRINT, output.out / RUN_FILE) if output.resume else ()
    task, whole = output.task, whole_of(output.out, output.task)
    tasks = (partial_of(task_of(whole, number, task.of)) / FINGERPRINT for number in range(task.of)) if task else ()
    for path in (*before, *tasks):
        with suppress(OSError, ValueError, KeyError, TypeError):  # where the file is needed, its reader raises
            return json.loads(path.read_text(encoding="utf-8"))["fingerprint"]["option.date"]
    return None


def complete(output: OutputSpec, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the facts of the run to be continued if it is complete already; None otherwise.

    Raises RunError when that run was begun differently.
    """
    if not is_complete(output):
        return None
    out = whole_of(output.out, output.task)
    check_out(out, overwrite=False, resume=True)
    facts = facts_of(out)
    begun_with = facts.get("fingerprint")
    check_same(begun_with if isinstance(begun_with, dict) else {}, fingerprint, str(out))
    tidy(out)
    return facts


@contextmanager
def begun(job: Job, about: Mapping[str, str], fingerprint: Mapping[str, Any]) -> Iterator[Session]:
    """Context manager: lock the run's directory and yield its session, new or as the last finished shard left it.

    Raises RunError when a run is in the way, another process writes it, or it was begun differently. After an error
    inside, finished shards stay; without any, the directory is removed.
    """
    output, batch, device = job.output, job.batch, job.model.description.spec.device
    check_out(output.out, output.overwrite, output.resume)
    directory = start_run(output.out, about)
    with gone_if_empty(directory.partial), locked(directory.partial):
        run = Session(directory, Progress(), Budget(batch.batch_tokens), output.overwrite, [])
        before = _continued(run, fingerprint, output.task) if output.resume else []
        if not before:
            clear(directory.partial)
        session = {"began": round(time.time(), 3), "shards_before": len(before), "device": device}
        run.sessions.append({**session, "batch_tokens": batch.batch_tokens, "torch": torch.__version__})
        try:
            if output.out.exists() and not run.replaces:
                raise RunError(
                    f"{output.out} exists already, and the unfinished run was not begun to replace it",
                    "move one of the two away",
                )
            directory.write_text(FINGERPRINT, Begun(fingerprint, run.replaces, run.sessions).text())
            yield run
        except BaseException:
            directory.discard_if_empty()
            raise


def _continued(run: Session, fingerprint: Mapping[str, Any], task: Task | None) -> list[Manifest]:
    """Return the finished shards of a run that was begun before; remove all else that lies there."""
    partial = run.directory.partial
    if not numbered(partial / SHARDS, ".json"):
        return []
    try:
        begun = read_begun(partial)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{partial / FINGERPRINT} cannot be read, so nobody knows what the run was begun with",
            f"move {partial} away, or choose another --out",
        ) from error
    check_same(begun.fingerprint, fingerprint, str(partial))
    found, wrong = finished(partial, task=task)
    if found:
        names = {f"{SHARDS}/{manifest.name}.json" for manifest in found}
        clear(partial, {FINGERPRINT, LOG_FILE, *names, *(name for manifest in found for name in manifest.files())})
        _restore(run, found)
    run.replaces, run.sessions = begun.replaces, [*begun.sessions]
    run.progress.notes.extend(wrong)
    return found


def count_again(run: Session, recipe: Recipe) -> None:
    """Add up the counts of all shards here in the order of shards, whichever process computed them.

    Sums of floats, and the first rejected record, depend on the order.
    """
    found, _ = manifests(run.directory.partial)
    total = Progress()
    for health in recipe.health.values():
        health.reset()
    for manifest in found:
        total.add(manifest.progress, Progress())
        for sae, state in load_states(run.directory.partial, manifest, list(recipe.health)).items():
            recipe.health[sae].restore(state)
    for name in (*COUNTERS, "reasons", "seen", "first_rejected"):
        setattr(run.progress, name, getattr(total, name))


def _restore(run: Session, found: list[Manifest]) -> None:
    """Take over the files and counts of these shards, and the batch budget that memory allowed; see `count_again`."""
    asked = run.budget.tokens
    for manifest in found:
        run.progress.add(manifest.progress, Progress())
        if manifest.given == asked:  # a budget that differs from the one before is taken as requested
            run.budget.tokens = min(run.budget.tokens, manifest.used)
        run.directory.files |= manifest.files(unfinished=False)
        name = f"{SHARDS}/{manifest.name}.json"
        path = run.directory.partial / name
        run.directory.files[name] = Written(path.stat().st_size, of_file(path))
    run.done = {manifest.part: manifest.end for manifest in found}


NO_CHUNK = -2
"""Stands for the chunk number of a sequence that is no chunk, so that no chunk can follow it."""


def reconcile(run: Path, progress: Progress) -> None:
    """Raise RunError unless every record that was read stands once in `sequences` or once in `rejected`.

    The tables are read shard by shard. The records of a shard have consecutive numbers, so those written and those
    rejected must together be these numbers without a gap. The first record may continue the last one of the shard
    before, with the next chunk. The totals must equal the counts.
    """
    read = written = rejected = truncated = 0
    last = (-1, -1)
    is_cut = False
    numbers = {part_number(path) for table in ("sequences", "rejected") for path in parts(run, table)}
    for part in (
        f"{part_name(number)}.parquet" for number in sorted(number for number in numbers if number is not None)
    ):
        sequences, chunks, n_truncated = _columns(run / "sequences" / part, "record_id", "chunk", "n_truncated")
        (bad,) = _columns(run / "rejected" / part, "record_id")
        good = np.unique(sequences)
        goes_on = len(sequences) > 0 and (sequences[0], chunks[0] - 1) == last
        good = good[goes_on:]
        both = np.sort(np.concatenate([good, bad]))
        if not np.array_equal(both, np.arange(read, read + len(both))):
            raise _defect(f"the records of {part} are not {read} to {read + len(both) - 1}, each once")
        cut = np.unique(sequences[n_truncated > 0])
        truncated += len(cut) - (goes_on and is_cut and last[0] in cut)
        if len(sequences):
            was_cut = is_cut and goes_on and sequences[0] == sequences[-1]
            last, is_cut = (int(sequences[-1]), int(chunks[-1])), was_cut or sequences[-1] in cut
        read, written, rejected = read + len(both), written + len(good), rejected + len(bad)
    found = (read, written, rejected, truncated)
    counted = (progress.read, progress.written, progress.rejected, progress.truncated)
    if found != counted:
        names = "read, written, rejected, truncated"
        raise _defect(f"{names}: {', '.join(map(str, counted))} counted, {', '.join(map(str, found))} found")


def _columns(path: Path, *names: str) -> list[Ints]:
    """Read columns of a part, opened once, since parts may be very many; they are empty where the part is missing."""
    if not path.exists():
        return [np.zeros(0, dtype=np.int64) for _ in names]
    found = read_part(path, names)
    return [pc.fill_null(found[name], NO_CHUNK).to_numpy() for name in names]


def _defect(message: str) -> RunError:
    return RunError(message, "this is a defect of actkit; please report it with the input")
