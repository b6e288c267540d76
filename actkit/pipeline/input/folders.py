"""List the files below a folder, without hidden files and runs; broken links and unreadable folders are errors."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from actkit.errors import InputError
from actkit.pipeline.input.files import check_name
from actkit.remote.url import publicly
from actkit.runs.paths import is_run, is_unfinished_run


def below(folder: Path) -> list[Path]:
    """List the files and folders below a folder. Raises InputError for an unreadable folder, which `rglob` skips."""
    found = [file for file in folder.rglob("*") if not hidden(file.relative_to(folder))]
    check_open((folder, *found))
    return found


def check_open(paths: Iterable[Path]) -> None:
    """Raise InputError for a folder that this user may not list."""
    for path in paths:
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise closed(str(path))


def closed(where: str) -> InputError:
    """Make the error for a folder that this user may not list."""
    return InputError(
        f"{publicly(where)}: permission denied", "check that the folder can be read, and those that it is in"
    )


def check_links(paths: Iterable[Path]) -> None:
    """Raise InputError for a broken link: in a cleared cache it may stand for one file of many."""
    for path in paths:
        if path.is_symlink() and not path.exists():
            try:
                path.stat()
            except OSError as error:
                is_circle = error.errno == errno.ELOOP
                where = "in a circle" if is_circle else f"to {publicly(str(path.readlink()))}, which is not there"
                raise InputError(f"{publicly(str(path))}: this link leads {where}", "fetch the file again") from error


def hidden(path: Path) -> bool:
    """Whether the name of a file, or of a folder in its path, begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def outside_runs(files: Iterable[Path], root: Path) -> list[Path]:
    """Return the files that are in no run below `root`: a corpus must not include runs that were made of it.

    Raises InputError for a name that is not valid text.
    """
    runs: dict[Path, bool] = {}
    kept = []
    for file in files:
        within = [folder for folder in file.parents if folder != root and root in folder.parents]
        for folder in within:
            if folder not in runs:
                runs[folder] = is_run(folder) or is_unfinished_run(folder)
        if not any(runs[folder] for folder in within):
            check_name(str(file))
            kept.append(file)
    return kept
