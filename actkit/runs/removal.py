"""Remove a run that is in the way of another: only a directory that is provably a run of actkit's.

A directory is removed if it is no link, its `run.json` or `fingerprint.json` can be read and is actkit's, and every
file in it is named like one that actkit makes. Its files are removed one by one, never as a tree.
"""

import re
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from actkit.errors import RunError, in_short, writing
from actkit.runs.card import is_own
from actkit.runs.lock import LOCK, refuse_if_locked
from actkit.runs.paths import (
    CARD,
    SHARDS,
    TEXTS,
    can_be,
    check_local,
    is_run,
    is_there,
    is_unfinished_run,
    part_number,
    partial_of,
    replaced,
)
from actkit.schemas import TABLES

UNFINISHED_FILE = re.compile(
    r"\.actkit-[0-9a-f]+\.tmp|\.lock-(dead-)?[0-9a-f]+"
    r"|\.(part-[0-9]+\.(parquet|json|npz)|(run|fingerprint|reward_features)\.json|config\.yaml)\.tmp"
)
"""Temporary names of files, and of locks before they are taken, in this version and earlier ones."""


def check_out(out: Path, overwrite: bool, resume: bool = False) -> None:
    """Check that a run can be made at `out`; quick, so that it can come before a model is loaded.

    Raises UsageError for a URL. Raises RunError where `out` has no name of its own, where a run, finished or not, is in
    the way and neither `overwrite` nor `resume` is set, where another process writes, or where files are in the way
    that are not actkit's: those are never removed.
    """
    check_local(out)
    if out.name in ("", "..") or not can_be(replaced(out)):
        raise RunError(f"{in_short(out)} cannot be a run's directory", "give the run a name, such as runs/x")
    partial = partial_of(out)
    if is_there(out) and not (overwrite or resume):
        more = ", or replace it with --overwrite" if is_run(out) else ""
        raise RunError(f"{out} exists already", f"choose another --out{more}")
    refuse_if_locked(partial)
    for path in (there for there in (out, partial, replaced(out)) if is_there(there)):
        check_removable(path)
    if is_there(partial) and not (overwrite or resume):
        hint = "continue it with --resume, replace it with --overwrite, or choose another --out"
        raise RunError(f"{partial} is an unfinished run", hint)


def check_removable(path: Path) -> None:
    """Raise RunError unless all of `path` is provably a run of actkit's; an empty directory may be removed too."""
    if path.is_symlink() or not path.is_dir():
        what = "a symbolic link" if path.is_symlink() else "no run of actkit's"
        raise RunError(f"{path} is {what}, so it is not removed", "move it away, or choose another --out")
    own, foreign = _inventory(path)
    files = [file for file in own if file.name != LOCK and not UNFINISHED_FILE.fullmatch(file.name)]
    if foreign is not None:
        name = in_short(foreign.relative_to(path))
        raise RunError(
            f"{path} holds {name}, which is not actkit's, so it is not removed",
            "move that away, or choose another --out",
        )
    if files and not (is_run(path) or is_unfinished_run(path)):
        raise RunError(
            f"{path} is no run of actkit's (it has no run.json or fingerprint.json that can be read), so it is not "
            "removed",
            "move it away, or choose another --out",
        )


def clear(run: Path, keep: Container[str] = ()) -> None:
    """Remove all files of a run except its lock and those of `keep`, paths in the run.

    Raises RunError, and removes nothing, where something in it is not actkit's.
    """
    check_removable(run)
    own, _ = _inventory(run)
    with writing(run):
        for path in own:
            name = path.relative_to(run).as_posix()
            if name != LOCK and name not in keep:
                path.unlink(missing_ok=True)
        for folder in (path for path in run.iterdir() if path.is_dir() and not path.is_symlink()):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def remove(run: Path) -> None:
    """Remove a run. Raises RunError, and removes nothing, where something in it is not actkit's."""
    clear(run)
    with writing(run):
        (run / LOCK).unlink(missing_ok=True)
        run.rmdir()


def tidy(out: Path) -> None:
    """Remove files that a finished run does not need: lock, counts of shards (`.npz`), and the run that it replaced."""
    (out / LOCK).unlink(missing_ok=True)
    for path in (out / SHARDS).glob("part-*.npz"):
        path.unlink()
    if is_there(replaced(out)):
        with suppress(RunError):  # someone put another file there meanwhile: it stays
            remove(replaced(out))


def _inventory(run: Path) -> tuple[list[Path], Path | None]:
    """The files that are named like actkit's, and the first other file or folder, if any."""
    own: list[Path] = []
    foreign: list[Path] = []
    with writing(run):
        for path in sorted(run.iterdir()):
            if path.is_dir() and not path.is_symlink() and (path.name == SHARDS or path.name in TABLES):
                for inner in path.iterdir():
                    (own if _is_part(inner) else foreign).append(inner)
            else:
                named = path.name in (*TEXTS, LOCK) or UNFINISHED_FILE.fullmatch(path.name)
                made = named and _is_file(path) and (path.name != CARD or is_own(path))
                (own if made else foreign).append(path)
    return own, min(foreign, default=None)


def _is_part(path: Path) -> bool:
    """Whether a file in a folder of a run is named like one that actkit makes there."""
    suffixes = (".json", ".npz") if path.parent.name == SHARDS else (".parquet",)
    is_part = part_number(path) is not None and path.suffix in suffixes
    return _is_file(path) and (is_part or UNFINISHED_FILE.fullmatch(path.name) is not None)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
