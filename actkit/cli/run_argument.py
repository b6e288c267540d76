"""Check the finished runs that commands are given and the files that they write; write pages of runs."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actkit.cli.screen.console import at_work, console, size
from actkit.cli.unforeseen import is_unforeseen
from actkit.errors import RunError, UsageError, in_short
from actkit.remote.path import RemotePath, path_of
from actkit.runs.paths import beside, is_run

READ = ("run", "other", "from_run", "directions")
"""Parameters of commands that name runs."""
NAMED = 3
"""Runs that an error names."""
LIMIT_MB = 25
"""Default limit for the size of a page."""


def check_run(path: Path, command: str) -> None:
    """Raise RunError where `path` is no run but lies in a run, or contains runs; the hint gives `command` for those.

    Other paths that are no run pass: the function that reads them raises the error.
    """
    try:
        if is_run(path) or not path.exists():
            return
        above = [
            parent for parent in path.absolute().parents if not isinstance(parent, RemotePath) or len(parent.parts) > 2
        ]
        within = next((folder for folder in above if is_run(folder)), None)
        inside = sorted(entry for entry in path.iterdir() if is_run(entry)) if path.is_dir() else []
    except OSError:  # too long for a name, or not readable
        return
    if within is not None:
        # Relative where the given path is, so that the line can be passed on.
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


def check_file(path: Path | None, what: str, such_as: str, overwrite: bool) -> None:
    """Raise UsageError where `--out` is standard output, RunError for a file that exists and is not to be replaced."""
    if str(path) == "-":
        raise UsageError(f"--out -: {what} is a file, and is not written to standard output", f"-o {such_as}")
    if path is not None and path.exists() and not overwrite:
        raise RunError(f"{path} exists already", "choose another --out, or replace it with --overwrite")


def page_of(runs: list[Path]) -> Path:
    """The default path of the page of some runs."""
    names = " and ".join(run.absolute().name for run in runs)
    return beside(runs[0], "").with_name(f"{names.replace(' ', '-')}.html")


def write_page(runs: list[Path], path: Path, quiet: bool, limit_mb: float = LIMIT_MB) -> None:
    """Write a page, and print its path, its size and the run's finding on standard error."""
    from actkit.report.header import finding
    from actkit.report.write import write_report
    from actkit.runs.run import open_run

    opened = [open_run(run) for run in runs]
    with at_work("writing the report", quiet):
        write_report(opened, path, limit_mb)
    if not quiet:
        console().print(f"report: {path} ({size(path.stat().st_size)})", markup=False)
        console().print(finding(opened[0]), markup=False)


@contextmanager
def explained(given: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error over a damaged run into a sentence: the first problem that `verify` finds in the run.

    `given` are a command's parameters; those in `READ` may be runs. An error over intact runs is a defect of actkit,
    and passes unchanged.
    """
    try:
        yield
    except Exception as error:
        if not is_unforeseen(error):
            raise
        for run in (path_of(given[name]) for name in READ if isinstance(given.get(name), (str, Path))):
            what = _damage(run)
            if what is not None:
                hint = f"actkit verify {shlex.quote(str(run))} names all of it"
                raise RunError(f"{run} is damaged: {in_short(what)}", hint) from error
        raise


def _damage(run: Path) -> str | None:
    """Return the first problem of a run; None for an intact run, and for a path that is no folder.

    Raises RunError for a folder that is no run.
    """
    from actkit.runs.facts import check_age
    from actkit.verify.tables.run import verify

    try:
        if not run.is_dir():
            return None
    except (OSError, ValueError):  # a text that cannot be a name
        return None
    check_age(run)
    problems = verify(run).problems
    return str(problems[0]) if problems else None
