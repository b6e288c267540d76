"""A JSON object read from a file that anybody may have made: bounded in memory, and never waiting for a pipe."""

import json
import os
import stat
from pathlib import Path
from typing import IO, Any

from actkit.remote.path import RemotePath

MOST = 64 << 20
"""Bytes of a JSON file that is read: the last manifest of a run of 400,000 files has as many."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises OSError where there is no regular file that can be read, ValueError where it holds no JSON object or is
    larger than `MOST`.
    """
    return parsed(read_bytes(path, MOST))


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that is spelled by `data`. Raises ValueError where it is none."""
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, not {type(found).__name__}")
    return found


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file. Raises OSError for what is none, ValueError for more than `most` bytes."""
    if isinstance(path, RemotePath):
        with path.open("rb") as remote:
            return _bounded(remote, most)
    # Without O_NONBLOCK, opening a named pipe waits for whoever writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{path.name} is no regular file")
        return _bounded(file, most)


def _bounded(file: IO[bytes], most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"larger than {most >> 20} MiB")
    return data


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, links followed: reading anything else may wait, or never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
