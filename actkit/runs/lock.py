"""One process a run: a file in the run's directory that names its owner.

The owner is a process id, a host and, where `/proc` has them, the machine's boot and the process's start, so that an id
that was given out again is not taken for the owner. What a dead process of this host left is taken over; a process of
another host cannot be looked at, so its lock holds until someone removes it.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from actkit.errors import RunError

LOCK = "lock"
TRIES = 10
"""Attempts to take a lock that others take and leave at the same time."""


@dataclass(frozen=True)
class Owner:
    """The process that works on a run."""

    pid: int
    host: str
    started: str | None
    """Boot and start of the process; None where the system does not say."""

    @property
    def may_be_alive(self) -> bool:
        """Whether the process runs, as far as this host can tell."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is someone else's
            pass
        return self.started is None or self.started == _started(self.pid)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which exists, and leave none behind.

    Raises RunError, naming process and host, where another process holds it.
    """
    path = folder / LOCK
    _acquire(path)
    try:
        yield
    finally:
        if _owner(path) == _this():
            with suppress(OSError):  # the file may be gone with its folder
                path.unlink()


def refuse_if_locked(folder: Path) -> None:
    """Raise RunError where another process works on `folder`: asked before a model is loaded."""
    owner = _owner(folder / LOCK)
    if owner is not None and owner.may_be_alive:
        raise _taken(folder / LOCK, owner)


def _acquire(path: Path) -> None:
    """Create the lock; exactly one of several processes that try at once succeeds."""
    own = path.with_name(f".{LOCK}-{os.getpid()}")
    for _ in range(TRIES):
        try:
            own.write_text(json.dumps(asdict(_this())), encoding="utf-8")
            _link(own, path)
            return
        except FileExistsError:
            refuse_if_locked(path.parent)
            _remove_dead(path)
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror or error}", "is the disk full or read-only?"
            ) from error
        finally:
            own.unlink(missing_ok=True)
    raise RunError(f"{path} is taken by one process after another", "is the same run started several times?")


def _remove_dead(path: Path) -> None:
    """Remove the lock of a dead process, unless another process has just put its own there."""
    aside = path.with_name(f".{LOCK}-dead-{os.getpid()}")
    with suppress(FileNotFoundError):
        # Of several processes only one can rename it; the others find nothing, or a new lock.
        path.rename(aside)
        owner = _owner(aside)
        if owner is not None and owner.may_be_alive:
            with suppress(FileExistsError):
                _link(aside, path)
        aside.unlink()


def _link(source: Path, path: Path) -> None:
    """Put a lock in place whole, so that nobody sees it half written; FileExistsError where there is one."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name appears first, then what is in it
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))


def _owner(path: Path) -> Owner | None:
    """Who holds the lock; None where there is none, or none that can be read."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _this() -> Owner:
    return Owner(os.getpid(), socket.gethostname(), _started(os.getpid()))


def _started(pid: int) -> str | None:
    """When a process began, as the boot's id and the clock ticks since then; `ended` for one that awaits its parent."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name of the program, in parentheses, may hold anything; the 22nd field is the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "ended" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    except (OSError, IndexError):
        return None


def _taken(path: Path, owner: Owner) -> RunError:
    who = f"process {owner.pid} on {owner.host}"
    if owner.host == socket.gethostname():
        return RunError(f"{path.parent} is being written by {who}", "wait for it, or end it first")
    return RunError(f"{path.parent} is being written by {who}", f"if that process is no more, remove {path}")
