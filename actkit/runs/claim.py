"""The object `lock` names the writer of a run in a store.

A store has no locks that end with a process, so the writer touches the object again and again while it lives.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from actkit.errors import ActkitError, RunError, in_short
from actkit.remote import store
from actkit.remote.path import RemotePath
from actkit.runs.json_file import object_if_any
from actkit.runs.lock import LOCK
from actkit.runs.lock_owner import Owner, this_process

TOUCHED, STALE = 30.0, 120.0
"""Seconds after which the writer touches its claim, and after which an untouched claim has expired."""
SETTLED = 1.0
"""Seconds to wait after taking over an expired claim: the last of several processes that do so keeps it."""
MINE = secrets.token_hex(8)
"""Marks this process's claims."""


def touch(run: str) -> None:
    """Renew the claim of this process. Raises WriteError."""
    store.put_text(f"{run}/{LOCK}", _claim())


@contextmanager
def claimed(run: str) -> Iterator[None]:
    """Hold the claim on a run in a store, and remove it at the end. Raises RunError where another process holds it."""
    take(run)
    try:
        yield
    finally:
        with suppress(ActkitError):
            store.remove(f"{run}/{LOCK}")


def take(run: str) -> None:
    """Claim a run in a store. Raises RunError where another process holds it."""
    url = f"{run}/{LOCK}"
    if store.put_new(url, _claim()):
        return
    claim = object_if_any(RemotePath(url))
    if _is_held(claim):
        raise _in_use(run, claim)
    store.put_text(url, _claim())
    time.sleep(SETTLED)  # several processes may put theirs, and the last one keeps it
    claim = object_if_any(RemotePath(url))
    if claim.get("mine") != MINE:
        raise _in_use(run, claim)


def _in_use(run: str, claim: dict[str, Any]) -> RunError:
    who = f"process {claim.get('pid')} on {in_short(str(claim.get('host')))}"
    return RunError(f"{run} is being written by {who}", f"if it has ended, wait {STALE:.0f} seconds")


def _is_held(claim: dict[str, Any]) -> bool:
    """Whether the process of a claim may still write the run.

    For a process of this machine, the kernel knows. Any other's claim holds for `STALE` seconds after its last touch.
    """
    here = this_process(flock=False)
    boot = str(claim.get("started")).partition(":")[0]
    is_here = (claim.get("host"), claim.get("namespace"), boot) == (
        here.host,
        here.namespace,
        str(here.started).partition(":")[0],
    )
    pid, started = claim.get("pid"), claim.get("started")
    if is_here and isinstance(pid, int) and pid > 0 and isinstance(started, str):
        return pid != here.pid and Owner(pid, here.host, started, here.namespace).may_be_alive(is_held=None)
    written = claim.get("time")
    return isinstance(written, (int, float)) and time.time() - written < STALE


def _claim() -> str:
    own = asdict(this_process(flock=False))
    del own["flock"]
    return json.dumps({**own, "mine": MINE, "time": time.time()})
