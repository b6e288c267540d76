"""sha256 digests of written files, which show whether a file was damaged."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.runs.json_file import is_regular

BLOCK = 1 << 20
"""Bytes of a file in memory at once."""


def of_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal. Raises OSError where it cannot be read."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()


def of_facts(facts: Mapping[str, Any]) -> str:
    """sha256 of facts as JSON with sorted keys, which a manifest states of itself."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def difference(path: Path, size: int, sha256: str) -> str | None:
    """How a file differs from what was written, in a few words; None where it does not."""
    if not is_regular(path):
        return "no regular file" if path.exists() else "missing"
    found = path.stat().st_size
    if found != size:
        said = f"{size:,}" if isinstance(size, int) else f"{size!r:.40}"  # a manifest of others' making says anything
        return f"{found:,} bytes, but {said} were written"
    try:
        return None if of_file(path) == sha256 else "its bytes are not those that were written (sha256 differs)"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
