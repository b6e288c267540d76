"""The shares that several tasks computed of a run, and `gather`, which joins them into one unfinished run.

Task 1 of 4 of `runs/x` writes `runs/x.1-of-4.partial`: the shards whose number modulo 4 is 1, named as in the whole
run, and `task.json` last. Once every task is done, `gather` puts all shards into `runs/x.partial`, as if one
process had been stopped just before the end. Resuming that run finishes it.
"""

import glob
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from actkit.config import Task
from actkit.errors import RunError, listed, writing
from actkit.runs.atomic_files import sync, write_text
from actkit.runs.facts import Begun, differing, read_begun
from actkit.runs.json_file import object_if_any, read_entries
from actkit.runs.lock import refuse_if_locked
from actkit.runs.manifest import InputPosition, Manifest, manifests
from actkit.runs.paths import (
    CONFIG,
    FINGERPRINT,
    SHARDS,
    TASK_FILE,
    TASK_NAME,
    is_there,
    is_unfinished_run,
    part_name,
    partial_of,
    task_of,
)
from actkit.runs.removal import check_removable, remove

OF_TASK = {"task": int, "tasks": int, "shards": int, "end": dict}
"""Entry of `task.json` → its type."""
NAMED = 5
"""Most tasks that an error names."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Share:
    """The share of a run that one task computed."""

    task: Task
    path: Path
    begun: Begun
    shards: int
    """How many shards the whole run has."""
    end: Mapping[str, Any]
    """Where the input of the whole run ends."""
    manifests: Sequence[Manifest]


def task_text(task: Task, shards: int, end: InputPosition) -> str:
    """The text of `task.json`: which task, how many shards the whole run has, and where its input ends."""
    return json.dumps({"task": task.number, "tasks": task.of, "shards": shards, "end": asdict(end)}, indent=1) + "\n"


def divisions(out: Path) -> dict[int, list[int]]:
    """Number of tasks → those that have begun, for the run `out`; several entries are a mistake of the user."""
    found: dict[int, list[int]] = {}
    for path in out.parent.glob(f"{glob.escape(out.name)}.*-of-*.partial"):
        name = TASK_NAME.search(path.name.removesuffix(".partial"))
        if name is not None and task_of(out, int(name[1]), int(name[2])) == path.with_name(path.name[:-8]):
            found.setdefault(int(name[2]), []).append(int(name[1]))
    return {of: sorted(numbers) for of, numbers in sorted(found.items())}


def shares(out: Path) -> list[Share]:
    """Read the shares of the run `out`, one for each task.

    Raises RunError where a task is missing, running, not done, or was begun otherwise than the others.
    """
    every = divisions(out)
    if not every:
        raise RunError(f"no task of {out} has begun here", f"COMMAND … -o {out} --shard 0/4 computes the first of four")
    if len(every) > 1:
        both = " and ".join(f"{numbers[0]}/{of}" for of, numbers in every.items())
        raise RunError(
            f"{out} was divided in several ways: there are tasks {both}", "remove the directories of all but one way"
        )
    of, begun = next(iter(every.items()))
    missing = sorted(set(range(of)) - set(begun))
    if missing:
        several = len(missing) > 1
        raise RunError(
            f"task{'s' if several else ''} {listed([str(number) for number in missing], NAMED)} of {of} "
            f"{'are' if several else 'is'} missing beside {out}",
            f"run what is missing first, with --shard {missing[0]}/{of}",
        )
    found = [_share(out, Task(number, of)) for number in range(of)]
    _check_alike(out, found)
    return found


def gather(out: Path) -> str:
    """Put the shares of all tasks into `<out>.partial`; return the name of their command.

    Files are linked where the file system can, else copied. Raises what `shares` raises, and RunError where an
    unfinished run of another kind is there.
    """
    every = shares(out)
    partial = partial_of(out)
    refuse_if_locked(partial)
    first = every[0].begun
    if is_there(partial):
        check_removable(partial)
        if is_unfinished_run(partial) and object_if_any(partial / FINGERPRINT).get("fingerprint") != first.fingerprint:
            raise RunError(f"{partial} is an unfinished run of another kind", "move it away, then merge again")
    sessions = [session for share in every for session in share.begun.sessions]
    sessions.sort(key=lambda session: float(session.get("began", 0)))
    begun = Begun(first.fingerprint, any(share.begun.replaces for share in every), sessions)
    with writing(partial):
        partial.mkdir(parents=True, exist_ok=True)
        write_text(partial / FINGERPRINT, begun.text())
        for share in every:
            for manifest in share.manifests:
                for name in (*manifest.files(), f"{SHARDS}/{manifest.name}.json"):
                    _linked(share.path / name, partial / name)
        _linked(every[0].path / CONFIG, partial / CONFIG)
        sync(partial)
    return str(first.fingerprint.get("command"))


def remove_shares(out: Path) -> None:
    """Remove the tasks' files once the run is complete; files that are not wholly actkit's stay."""
    for of, numbers in divisions(out).items():
        for number in numbers:
            with suppress(RunError):
                remove(partial_of(task_of(out, number, of)))


def _share(out: Path, task: Task) -> Share:
    path = partial_of(task_of(out, task.number, task.of))
    refuse_if_locked(path)
    begun = _of_file(path / FINGERPRINT, lambda: read_begun(path))
    if not (path / TASK_FILE).exists():
        done = len(manifests(path, task)[0])
        raise RunError(
            f"task {task} is not done: {path} has {done} finished shard{'' if done == 1 else 's'}",
            f"go on with it: the same command with --shard {task.number}/{task.of} --resume",
        )
    about = _of_file(path / TASK_FILE, lambda: read_entries(path / TASK_FILE, OF_TASK))
    found, wrong = manifests(path, task)
    due = set(range(task.number, about["shards"], task.of))
    gone = sorted(due - {manifest.part for manifest in found})
    if wrong or gone:
        name, what = wrong[0] if wrong else (f"{SHARDS}/{part_name(gone[0])}.json", "missing")
        raise RunError(
            f"task {task}: {path / name} is {what}",
            f"compute it again: the same command with --shard {task.number}/{task.of} --resume",
        )
    return Share(
        task, path, begun, about["shards"], about["end"], [manifest for manifest in found if manifest.part in due]
    )


def _check_alike(out: Path, found: Sequence[Share]) -> None:
    first = found[0]
    for share in found[1:]:
        old, new = first.begun.fingerprint, share.begun.fingerprint
        keys = sorted(differing(old, new), key=lambda key: not key.startswith("option."))
        what = f"{keys[0].removeprefix('option.')} is {old.get(keys[0])!r} and {new.get(keys[0])!r}" if keys else None
        if what is None and (share.shards, share.end) != (first.shards, first.end):
            records = f"{first.end.get('read')} and {share.end.get('read')}"
            what = f"their inputs differ: {records} records in {first.shards} and {share.shards} shards"
        if what is not None:
            raise RunError(
                f"tasks {first.task} and {share.task} of {out} do not belong together: {what}",
                "give every task the same command and input; --overwrite begins one again",
            )


def _of_file(path: Path, read: Callable[[], Found]) -> Found:
    try:
        return read()
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error})",
            "run that task again, with --overwrite",
        ) from error


def _linked(source: Path, target: Path) -> None:
    """Link a file into another folder; copy it where the file system has no links."""
    target.parent.mkdir(exist_ok=True)
    if target.exists() and source.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # no links there
        shutil.copy2(source, target)
