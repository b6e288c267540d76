"""`lock` of a run in a store: who writes it. Nothing is held there, so that whoever writes says so again and again."""

import json
import os
import socket
import time
from typing import Any

from actkit.errors import RunError, in_short
from actkit.remote import store
from actkit.remote.path import RemotePath
from actkit.runs.lock import LOCK

TOUCHED, STALE = 30.0, 120.0
"""Seconds after which a claim is touched, and after which one that was not is nobody's."""


def touch(run: str) -> None:
    """Say that this process still writes the run. Raises WriteError."""
    store.put_text(f"{run}/{LOCK}", _claim())


def take(run: str) -> None:
    """Claim the place. Raises RunError where another process does not let go of it."""
    url = f"{run}/{LOCK}"
    if store.put_new(url, _claim()):
        return
    owner = _owner(RemotePath(url))
    age = time.time() - float(owner.get("time", 0))
    is_here = owner.get("host") == socket.gethostname()
    if (not is_here and age < STALE) or (is_here and _is_alive(owner.get("pid"))):
        who = f"process {owner.get('pid')} on {in_short(str(owner.get('host')))}"
        raise RunError(f"{run} is being written by {who}", f"if it has ended, wait {STALE:.0f} seconds")
    store.put_text(url, _claim())


def _owner(path: RemotePath) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(1 << 12))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _claim() -> str:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()})
