"""Where a run begins: at its first shard, after its last finished one, or not at all because it is complete.

`<out>.partial/fingerprint.json` says from the beginning on what the run was begun with; see `fingerprint`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from actkit.config import OutputSpec, Task
from actkit.errors import RunError
from actkit.pipeline.forward.batches import Budget
from actkit.pipeline.job import Job
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.resume.fingerprint import check_same
from actkit.runs.atomic_files import Written
from actkit.runs.checksums import of_file
from actkit.runs.facts import facts_of
from actkit.runs.json_file import read_object
from actkit.runs.lock import locked
from actkit.runs.manifest import InputPosition, Manifest, finished, load_states, manifests
from actkit.runs.paths import FINGERPRINT, LOG_FILE, RUN_FILE, SHARDS, numbered, partial_of, task_of, whole_of
from actkit.runs.progress import COUNTERS, Progress
from actkit.runs.removal import check_out, clear, tidy
from actkit.runs.writer import RunDirectory, start_run


@dataclass
class Session:
    """A run that is being written by this process."""

    directory: RunDirectory
    progress: Progress
    budget: Budget
    asked: int
    """Tokens a batch that were asked for."""
    replaces: bool
    """Whether a finished run at the same place is to be replaced, now or when the run was begun."""
    sessions: list[dict[str, Any]]
    """When, where and with what each of the processes began that wrote this run."""
    done: dict[int, InputPosition] = field(default_factory=dict)
    """Number → end of each shard that was finished before."""


def is_complete(output: OutputSpec) -> bool:
    """Whether `output` is to continue a run that is complete, for which no record is read."""
    out = whole_of(output.out) if output.task else output.out
    return output.resume and not partial_of(output.out).exists() and (out / RUN_FILE).exists()


def asked_before(output: OutputSpec, option: str) -> Any:
    """What the run that is to be continued was asked by an option, or another task of it; None where there is none."""
    before = (partial_of(output.out) / FINGERPRINT, output.out / RUN_FILE) if output.resume else ()
    task, whole = output.task, whole_of(output.out)
    tasks = (partial_of(task_of(whole, number, task.of)) / FINGERPRINT for number in range(task.of)) if task else ()
    for path in (*before, *tasks):
        with suppress(OSError, ValueError, KeyError, TypeError):  # what is wrong with it is said where it is needed
            return json.loads(path.read_text(encoding="utf-8"))["fingerprint"][f"option.{option}"]
    return None


def complete(output: OutputSpec, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of a run that is to be continued and is complete; None where there is none.

    Raises RunError when it was begun differently.
    """
    if not is_complete(output):
        return None
    out = whole_of(output.out) if output.task else output.out
    check_out(out, overwrite=False, resume=True)
    facts = facts_of(out)
    begun_with = facts.get("fingerprint")
    check_same(begun_with if isinstance(begun_with, dict) else {}, fingerprint, str(out))
    tidy(out)
    return facts


@contextmanager
def begun(job: Job, about: Mapping[str, str], fingerprint: Mapping[str, Any]) -> Iterator[Session]:
    """Hold the run's directory and everything that was counted in it, empty or as the last finished shard left it.

    Raises RunError when a run is in the way, another process writes it, or it was begun differently. What fails inside
    leaves the finished shards, or nothing at all where there are none.
    """
    output, batch, device = job.output, job.batch, job.model.description.spec.device
    check_out(output.out, output.overwrite, output.resume)
    directory = start_run(output.out, about)
    with _gone_if_empty(directory.partial), locked(directory.partial):
        run = Session(directory, Progress(), Budget(batch.batch_tokens), batch.batch_tokens, output.overwrite, [])
        before = _continued(run, job.recipe, fingerprint, output.task) if output.resume else []
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
            facts = {"fingerprint": fingerprint, "replaces": run.replaces, "sessions": run.sessions}
            directory.write_text(FINGERPRINT, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
            yield run
        except BaseException:
            directory.discard_if_empty()
            raise


def _continued(run: Session, recipe: Recipe, fingerprint: Mapping[str, Any], task: Task | None) -> list[Manifest]:
    """The finished shards of a run that was begun before; whatever else is there is removed."""
    partial = run.directory.partial
    if not numbered(partial / SHARDS, ".json"):
        return []
    facts = _facts(partial / FINGERPRINT)
    check_same(facts["fingerprint"], fingerprint, str(partial))
    found, wrong = finished(partial, task=task)
    if found:
        names = {f"{SHARDS}/{one.name}.json" for one in found}
        clear(partial, {FINGERPRINT, LOG_FILE, *names, *(name for one in found for name in one.files())})
        _restore(run, recipe, found)
    run.replaces, run.sessions = facts["replaces"], facts["sessions"]
    run.progress.notes.extend(wrong)
    return found


def in_order(run: Session, recipe: Recipe) -> None:
    """Count again what all shards counted, in their order, where some were finished before: whoever computed which.

    Sums of floats, and what is said of the first rejected record, depend on the order.
    """
    if not run.done:
        return
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


def _restore(run: Session, recipe: Recipe, found: list[Manifest]) -> None:
    """Count everything in these shards, in their order."""
    for manifest in found:
        for sae, state in load_states(run.directory.partial, manifest, list(recipe.health)).items():
            recipe.health[sae].restore(state)
        run.progress.add(manifest.progress, Progress())
        if manifest.given == run.asked:  # another budget that is asked for is taken as it is
            run.budget.tokens = min(run.budget.tokens, manifest.used)
        for name, written in manifest.files(unfinished=False).items():
            run.directory.count(name, written)
        name = f"{SHARDS}/{manifest.name}.json"
        path = run.directory.partial / name
        run.directory.files[name] = Written(path.stat().st_size, of_file(path))
    run.done = {one.part: one.end for one in found}


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = read_object(path)
        kinds = {"fingerprint": dict, "replaces": bool, "sessions": list}
        if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
            raise ValueError("other entries")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read, so nobody knows what the run was begun with",
            f"move {path.parent} away, or choose another --out",
        ) from error
    return facts


@contextmanager
def _gone_if_empty(partial: Path) -> Iterator[None]:
    """Remove the directory, once its lock is gone, where a run ended early and left nothing in it."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.rmdir()
        raise
