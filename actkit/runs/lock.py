"""The lock of a run, for one process at a time: a file that names its owner, and on which the owner holds an `flock`.

1. The owner writes its process id, host, boot, start and namespace of process ids into a file of its own, takes an
   `flock` on it where the file system has them, and links it to the lock's name: so the lock is never half written.
2. Another process asks the kernel whether the `flock` is held. If so, the owner lives, on whichever host.
3. If not, or without an `flock`, the owner's host, boot, namespace and start decide. A lock of a process that cannot be
   looked at (on another host, or in another namespace without `flock`) holds until someone removes it.
4. The one process that gets an `flock` on a dead owner's lock removes it, so that two never take it over.

The library filelock excludes other processes too, but does not name the owner, which the error must.
"""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from actkit.errors import RunError
from actkit.runs.json_file import read_object
from actkit.runs.lock_owner import Owner, namespace, this_process

if sys.platform != "win32":
    import fcntl

LOCK = "lock"
TRIES = 20
"""Attempts to take a lock that other processes take and release at the same time."""
PAUSE = 0.02
"""Seconds between attempts."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's directory, which must exist, and remove it at the end.

    Raises RunError, naming process and host, where another process holds it.
    """
    with holding(folder / LOCK, folder):
        yield


@contextmanager
def holding(path: Path, what: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` on `what`, and remove it at the end.

    Raises RunError, naming process and host, where another process still holds it after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            descriptor = _acquire(path, what)
            break
        except TakenError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE)
    try:
        yield
    finally:
        if _owner(path) == this_process(flock=descriptor is not None):
            with suppress(OSError):  # the file may be gone with its folder
                path.unlink()
        if descriptor is not None:
            os.close(descriptor)


class TakenError(RunError):
    """Another process holds the lock."""


def refuse_if_locked(folder: Path) -> None:
    """Raise TakenError where another process holds the lock of a run; to be called before a model is loaded."""
    _refuse_if_held(folder / LOCK, folder)


def _refuse_if_held(path: Path, what: Path) -> None:
    owner = _owner(path)
    if owner is None or not owner.may_be_alive(_is_held(path)):
        return
    who = f"process {owner.pid} on {owner.host}"
    here = owner.host == socket.gethostname() and owner.namespace in (None, namespace())
    hint = "wait for it, or end it first" if here else f"if that process is no more, remove {path}"
    raise TakenError(f"{what} is being written by {who}", hint)


def _acquire(path: Path, what: Path) -> int | None:
    """Create the lock; exactly one of several processes that try at once succeeds.

    Returns the open file on which the `flock` is held; None without an `flock`.
    """
    own = path.with_name(f".{LOCK}-{secrets.token_hex(6)}")
    descriptor: int | None = None
    try:
        descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        flock = _has_links(own) and _flock(descriptor, exclusive=True) is True
        os.write(descriptor, json.dumps(asdict(this_process(flock))).encode())
        for _ in range(TRIES):
            try:
                _put(own, path)
            except FileExistsError:
                _refuse_if_held(path, what)
                _remove_dead(path)
                time.sleep(PAUSE)
                continue
            if not flock:  # a directory with an open file in it cannot be renamed on some systems
                return None
            kept, descriptor = descriptor, None
            return kept
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}", "is the disk full or read-only?") from error
    finally:
        with suppress(OSError):
            own.unlink()
        if descriptor is not None:
            os.close(descriptor)
    raise TakenError(f"{path} is taken by one process after another", "is the same run started several times?")


def _has_links(own: Path) -> bool:
    """Whether the file system has links, without which a lock cannot get its name with its `flock` already held."""
    second = own.with_name(f"{own.name}0")
    try:
        os.link(own, second)
        second.unlink()
    except OSError:
        return False
    return True


def _put(own: Path, path: Path) -> None:
    """Link a written lock to its name, so that no process reads half of it. Raises FileExistsError."""
    try:
        os.link(own, path)
    except FileExistsError:
        raise
    except OSError:  # without links the name appears first, and then the contents
        with path.open("xb") as file:
            file.write(own.read_bytes())


def _remove_dead(path: Path) -> None:
    """Remove the lock of a dead process, unless another process has just put its own there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        got = _flock(descriptor, exclusive=True)
        if got is None:
            _set_aside(path)
        elif got and _is_at(path, descriptor):
            # No other process removes this file while this one holds its flock, so it is still a dead owner's.
            owner = _owner(path)
            if owner is None or not owner.may_be_alive(False):
                path.unlink()
    finally:
        os.close(descriptor)


def _set_aside(path: Path) -> None:
    """Remove a dead lock without `flock`: of several processes only one can rename it."""
    aside = path.with_name(f".{LOCK}-{secrets.token_hex(6)}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        owner = _owner(aside)
        if owner is not None and owner.may_be_alive(None):
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink()


def _flock(descriptor: int, exclusive: bool) -> bool | None:
    """Take an `flock` without waiting; False where another process holds it, None where the file system has none."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_held(path: Path) -> bool | None:
    """Whether some process holds an `flock` on a lock; None where that cannot be found out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        free = _flock(descriptor, exclusive=False)  # shared: two processes that ask at once are no owners
        return None if free is None else not free
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the file at `path`."""
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _owner(path: Path) -> Owner | None:
    """Read the owner of a lock; None where there is no lock, or it cannot be read."""
    try:
        owner = Owner(**read_object(path))
    except (OSError, ValueError, TypeError):
        return None
    texts = (owner.started, owner.namespace)
    fine = isinstance(owner.pid, int) and owner.pid > 0 and isinstance(owner.host, str)
    return owner if fine and all(text is None or isinstance(text, str) for text in texts) else None
