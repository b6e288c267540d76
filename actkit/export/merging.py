"""A run's features joined to a document that other runs join too, maybe at the same moment.

Each reads the document again when it has the lock beside it, adds what is its own, and replaces the file whole.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actkit.export.merged_json import merge
from actkit.runs.atomic_files import write_whole
from actkit.runs.lock import holding

PATIENCE = 600.0
"""Seconds that another run may take to join the same document."""


def merge_into(target: Path, run: Path, facts: Mapping[str, Any], read: Callable[[], dict[str, Any]]) -> None:
    """Put the features of a finished run into the document at `target`; `read` reads what is there, or its beginning.

    A link is followed. Raises InputError where the texts that were run are not the document's, RunError where another
    process does not leave it, and WriteError; the document then stays as it is.
    """
    target = target.resolve()
    name = hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    with holding(target.with_name(f".actkit-{name}.lock"), target, PATIENCE):
        document = read()
        merge(run, document, facts)
        write_whole(target, lambda file: file.write(_spelled(document)))


def _spelled(document: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
    except UnicodeEncodeError:  # half a character, which JSON can hold as an escape only
        return (json.dumps(document, indent=2) + "\n").encode()
