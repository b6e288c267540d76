"""`verify.json`: what `actkit verify` found, beside `run.json`, for whoever reads the run next.

* ok, checked, problems, notes: what was looked at and what is wrong
* recomputed: with `--recompute`, of how many records, and the worst error at each hook point and of each SAE
* deep: whether tests and directions were computed again
* time, seconds, actkit, schema_version: when, how long, and with what
* manifest: sha256 of the last manifest then. Where the run has another one now, this says nothing of it

The run's own checksums leave this file out, so that looking at a run does not change what is looked at.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actkit.errors import ActkitError
from actkit.remote.path import RemotePath
from actkit.runs.atomic_files import of_file, write_text
from actkit.runs.json_file import is_regular
from actkit.runs.paths import MANIFEST, VERIFIED
from actkit.schemas import SCHEMA_VERSION


def leave(run: Path, found: Mapping[str, Any], seconds: float, deep: bool) -> str | None:
    """Write what was found of a run into it. Returns a sentence where that cannot be done: no problem of the run's."""
    manifest = run / MANIFEST
    facts = {
        "ok": found["ok"],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "actkit": version("actkit"),
        "schema_version": SCHEMA_VERSION,
        "manifest": of_file(manifest) if is_regular(manifest) else None,
        "deep": deep,
        **{name: value for name, value in found.items() if name not in ("run", "ok")},
    }
    if isinstance(run, RemotePath):
        return f"{VERIFIED} is not left in a run that is elsewhere"
    try:
        write_text(run / VERIFIED, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    except ActkitError as error:
        return f"{VERIFIED} is not left in the run: {error.message}"
    return None
