"""Files that are whole or not there: written under a temporary name, on disk before they are renamed, and digested."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from actkit.errors import writing
from actkit.runs.checksums import of_file


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    bytes: int
    sha256: str
    rows: int | None = None


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> Written:
    """Write a file that, under its name, is always whole: under a temporary one first, on disk before it is renamed.

    Raises WriteError; the temporary file does not stay.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            written = Written(temporary.stat().st_size, of_file(temporary))
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)
    return written


def sync(path: Path) -> None:
    """Have the directory on disk before anything that relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
