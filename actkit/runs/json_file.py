"""Read a JSON object from a file that anybody may have made: memory is bounded, and a pipe is not waited for."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.remote.path import RemotePath

MOST = 64 << 20
"""Most bytes of a JSON file: those of the last manifest of a run of 400,000 files."""


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises OSError where there is no regular file that can be read, ValueError where it holds no JSON object or is
    larger than `MOST`.
    """
    return parsed(read_bytes(path))


def read_entries(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Read the entries `kinds` (name → type) of a JSON file. Raises as `read_object`, and ValueError for others."""
    facts = read_object(path)
    if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise ValueError("other entries")
    return {name: facts[name] for name in kinds}


def object_if_any(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file; empty where `read_object` cannot read it."""
    try:
        return read_object(path)
    except (OSError, ValueError):
        return {}


def parsed(data: bytes) -> dict[str, Any]:
    """Parse `data` as a JSON object. Raises ValueError for anything else."""
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, not {type(found).__name__}")
    return found


def read_bytes(path: Path) -> bytes:
    """Read a regular file. Raises OSError for anything else, ValueError for more than `MOST` bytes."""
    is_remote = isinstance(path, RemotePath)
    with path.open("rb") if is_remote else open(path, "rb", opener=_without_waiting) as file:
        if not (is_remote or stat.S_ISREG(os.fstat(file.fileno()).st_mode)):
            raise OSError(f"{path.name} is no regular file")
        data = bytes(file.read(MOST + 1))
    if len(data) > MOST:
        raise ValueError(f"larger than {MOST >> 20} MiB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file with O_NONBLOCK: without it, opening a named pipe waits for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def is_regular(path: Path) -> bool:
    """Whether `path` is a regular file, links followed: reading anything else may wait, or never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
