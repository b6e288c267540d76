"""The last file of a run, `manifest.json`: how many shards it has, and the checksum of every other file.

* shards: how many shards the run has, each with a manifest of its own in `shards/`
* files: path in the run → bytes, sha256 and, of tables, rows; all but this file, and `verify.json`, which is later
* sha256: of all of the above, as JSON with sorted keys

It is written before the run gets its name, so a finished run without one has lost it, or is an older version's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actkit.runs.atomic_files import Written, write_text
from actkit.runs.checksums import of_facts
from actkit.runs.json_file import MOST, parsed, read_bytes
from actkit.runs.paths import MANIFEST


def seal(run: Path, shards: int, files: Mapping[str, Written]) -> None:
    """Write the last manifest of a run of so many shards. Raises WriteError."""
    write_text(run / MANIFEST, spelled(shards, files))


def spelled(shards: int, files: Mapping[str, Written]) -> str:
    """The text of the last manifest of a run of so many shards."""
    every = {name: _facts(files[name]) for name in sorted(files)}
    return _spelled({"shards": shards, "files": every})


def sealed(run: Path) -> tuple[int, dict[str, Written]]:
    """How many shards a run has, and how each of its files was written.

    Raises OSError where there is no manifest, ValueError where it is not, to the byte, as it was written.
    """
    data = read_bytes(run / MANIFEST, MOST)
    facts = parsed(data)
    stated = facts.pop("sha256", None)
    if stated != of_facts(facts) or _spelled(facts).encode() != data:
        raise ValueError("its own sha256 differs")
    try:
        shards, files = facts["shards"], {str(name): Written(**about) for name, about in facts["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it has other entries ({error})") from error
    if not isinstance(shards, int) or not all(_is_file_facts(file) for file in files.values()):
        raise ValueError("it has other entries")
    return shards, files


def _facts(written: Written) -> dict[str, Any]:
    return {name: value for name, value in asdict(written).items() if value is not None}


def _is_file_facts(written: Written) -> bool:
    counts = (written.bytes, 0 if written.rows is None else written.rows)
    return isinstance(written.sha256, str) and all(isinstance(count, int) and count >= 0 for count in counts)


def _spelled(facts: Mapping[str, Any]) -> str:
    return json.dumps({**facts, "sha256": of_facts(facts)}, indent=1, ensure_ascii=False) + "\n"
