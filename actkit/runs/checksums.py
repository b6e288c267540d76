"""sha256 of what is written, by which a damaged file is known."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
