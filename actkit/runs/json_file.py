"""A JSON object read from a file that anybody may have made: bounded in memory, and never waiting for a pipe."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.remote.path import RemotePath

MOST = 64 << 20
"""Bytes of a JSON file that is read: the last manifest of a run of 400,000 files has as many."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises OSError where there is no regular file that can be read, ValueError where it holds no JSON object or is
    larger than `MOST`.
    """
    return parsed(read_bytes(path))


def read_entries(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Some entries of the JSON object in a file (name → kind). Raises as `read_object`, and ValueError for others."""
    facts = read_object(path)
    if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise ValueError("other entries")
    return {name: facts[name] for name in kinds}


def object_if_any(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where `read_object` cannot read one."""
    try:
        return read_object(path)
    except (OSError, ValueError):
        return {}


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that is spelled by `data`. Raises ValueError where it is none."""
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, not {type(found).__name__}")
    return found


def read_bytes(path: Path) -> bytes:
    """Read a regular file. Raises OSError for what is none, ValueError for more than `MOST` bytes."""
    is_remote = isinstance(path, RemotePath)
    with path.open("rb") if is_remote else open(path, "rb", opener=_without_waiting) as file:
        if not (is_remote or stat.S_ISREG(os.fstat(file.fileno()).st_mode)):
            raise OSError(f"{path.name} is no regular file")
        data = bytes(file.read(MOST + 1))
    if len(data) > MOST:
        raise ValueError(f"larger than {MOST >> 20} MiB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK, opening a named pipe waits for whoever writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, links followed: reading anything else may wait, or never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
