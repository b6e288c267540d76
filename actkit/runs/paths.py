"""Where a run is on disk, what may be in its way there, and what is removed."""

import errno
import secrets
import shutil
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from actkit.errors import RunError, in_short, writing
from actkit.runs.lock import LOCK, refuse_if_locked

RUN_FILE = "run.json"


def named_after(command: str) -> Path:
    """Where a run goes that nobody named: command, time, and something of its own, since several may start at once."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def partial_of(out: Path) -> Path:
    """Where the run `out` is until it is complete."""
    return out.with_name(out.name + ".partial")


def replaced(out: Path) -> Path:
    """Where the run that stood at `out` is for a moment while another takes its place."""
    return out.with_name(f".{out.name}.replaced")


def check_out(out: Path, overwrite: bool, resume: bool = False) -> None:
    """Whether a run can be made at `out`; cheap, so that it can be asked before a model is loaded.

    Raises RunError when `out` has no name of its own, when a run, finished or not, is in the way and neither
    `overwrite` nor `resume` is set, when another process writes there, or when the directory in the way is no run of
    actkit's: that is never removed.
    """
    if out.name in ("", "..") or not _can_be(replaced(out)):
        raise RunError(f"{in_short(out)} cannot be a run's directory", "give the run a name, such as runs/x")
    partial = partial_of(out)
    refuse_if_locked(partial)
    if not overwrite and not resume:
        if out.exists():
            raise RunError(f"{out} exists already", "choose another --out, or replace it with --overwrite")
        if partial.exists():
            hint = "continue it with --resume, replace it with --overwrite, or choose another --out"
            raise RunError(f"{partial} is an unfinished run", hint)
    if out.exists():
        check_is_run(out)


def _can_be(path: Path) -> bool:
    """Whether there can be a file of this name: it is not too long, and has no NUL in it."""
    try:
        path.lstat()
    except ValueError:
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def check_is_run(path: Path) -> None:
    """Raise RunError for what is there but no run of actkit's."""
    if not path.is_dir() or (any(path.iterdir()) and not (path / RUN_FILE).exists()):
        raise RunError(f"{path} is no run of actkit's, so it is not replaced", "choose another --out")


def clear(run: Path, keep: Container[str] = ()) -> None:
    """Remove everything of a run but its lock and the files of `keep`, which are paths in it."""
    with writing(run):
        for path in sorted(run.rglob("*"), reverse=True):  # what is in a folder comes before the folder
            name = path.relative_to(run).as_posix()
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):  # it is not empty
                    path.rmdir()
            elif name != LOCK and name not in keep:
                path.unlink()


def tidy(out: Path) -> None:
    """Remove what a finished run does not need: the lock, what was counted by each shard, the run that it replaced."""
    (out / LOCK).unlink(missing_ok=True)
    for path in out.glob("shards/*.npz"):
        path.unlink()
    if replaced(out).exists():
        shutil.rmtree(replaced(out))
