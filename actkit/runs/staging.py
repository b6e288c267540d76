"""The local directory of a run that goes to a store, and its files fetched from there."""

import hashlib
import os
import shutil
from pathlib import Path

from actkit.errors import WriteError
from actkit.remote.path import RemotePath
from actkit.runs.atomic_files import of_file
from actkit.runs.lock import LOCK
from actkit.runs.paths import LOG_FILE, RUN_FILE, VERIFIED

STAGING = "ACTKIT_STAGING"
"""Environment variable: the folder for local directories of runs that go to a store."""
UPLOADED = "uploaded.json"
"""A file next to the local directory: path in the run → sha256 of the uploaded file."""


def staging(at: RemotePath) -> Path:
    """The local directory in which a run at `at` is made, the same each time; its folder is made."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get(STAGING) or Path(cache) / "actkit" / "uploads")
    folder = root.absolute() / hashlib.sha256(str(at).encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make {folder}: {error.strerror}", f"{STAGING} names another folder") from error
    return folder / at.name[:100]


def fetched(at: RemotePath, there: dict[str, int], into: Path) -> dict[str, str]:
    """Fetch an unfinished run, or all but the tables of a finished one; return the sha256 of each fetched file."""
    is_finished = RUN_FILE in there
    digests: dict[str, str] = {}
    for name in there:
        if name in (LOCK, VERIFIED, LOG_FILE) or (is_finished and name.endswith(".parquet")):
            continue
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (at / name).open("rb") as file, path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        digests[name] = of_file(path)
    return digests
