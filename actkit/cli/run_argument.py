"""The run that `show`, `verify` and `export` are given."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from actkit.errors import ActkitError, RunError, in_short
from actkit.remote.path import RemotePath, path_of
from actkit.runs.paths import is_run

NAMED = 3
"""Runs that an error names."""


def check_run(path: Path, command: str) -> None:
    """Raise RunError where `path` is no run but lies in one, or holds some, naming `command` for those.

    What else is no run is left to whoever reads it.
    """
    try:
        if is_run(path) or not path.exists():
            return
        above = [
            parent for parent in path.absolute().parents if not isinstance(parent, RemotePath) or len(parent.parts) > 2
        ]
        within = next((folder for folder in above if is_run(folder)), None)
        inside = sorted(entry for entry in path.iterdir() if is_run(entry)) if path.is_dir() else []
    except OSError:  # too long for a name, or closed to us
        return
    if within is not None:
        # Like the path that was given: a relative one can be on a line that is passed on.
        run = within if path.is_absolute() else Path(os.path.relpath(within))
        raise RunError(f"{path}: a part of the run {run}, not the run", f"{command} {shlex.quote(str(run))}")
    if inside:
        newest = sorted(inside, key=lambda folder: folder.stat().st_mtime, reverse=True)[:NAMED]
        raise RunError(
            f"{path}: a folder of {len(inside)} runs, not a run"
            if len(inside) > 1
            else f"{path}: no run, but holds one",
            " or ".join(f"{command} {shlex.quote(str(folder))}" for folder in newest),
        )


@contextmanager
def explained(run: Any) -> Iterator[None]:
    """Turn what reading a damaged run ends in into a sentence: what `verify` finds wrong with it.

    An error over a run that is in order is a defect of actkit, and stays what it is. `run` may be None.
    """
    try:
        yield
    except Exception as error:
        expected = isinstance(error, (ActkitError, typer.Exit, typer.Abort)) or hasattr(error, "format_message")
        if expected or not isinstance(run, (str, Path)):
            raise
        from actkit.runs.age import check_age
        from actkit.verify.tables.run import verify

        check_age(path_of(run))
        problems = verify(path_of(run)).problems
        if not problems:
            raise
        what = in_short(str(problems[0]))
        raise RunError(f"{run} is damaged: {what}", f"actkit verify {shlex.quote(str(run))} names all of it") from error
