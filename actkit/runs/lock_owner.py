"""`Owner`: the process that holds a lock, and whether it may still be alive, as far as this process can tell."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """The process that works on a run."""

    pid: int
    host: str
    started: str | None
    """Boot and start of the process; None where the system does not say."""
    namespace: str | None = None
    """The namespace of process ids, as `/proc` names it: in another namespace the same id is another process."""
    flock: bool = False
    """Whether the process took an `flock`, which the kernel drops when the process ends."""

    def may_be_alive(self, is_held: bool | None) -> bool:
        """Whether the process runs, as far as this one can tell.

        `is_held`: whether an `flock` is held on its lock; None where the file system does not say.
        """
        if is_held or self.host != socket.gethostname():
            return True
        here = this_process(flock=False)
        boot, this_boot = (started and started.partition(":")[0] for started in (self.started, here.started))
        if boot and this_boot and boot != this_boot:
            return False  # the machine was started anew
        if is_held is False and self.flock:
            return False
        if self.namespace is not None and here.namespace is not None and self.namespace != here.namespace:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):  # another user's process, or no process id
            pass
        return self.started is None or self.started == _started(self.pid)


def this_process(flock: bool) -> Owner:
    """Make the owner that stands for this process."""
    return Owner(os.getpid(), socket.gethostname(), _started(os.getpid()), namespace(), flock)


def namespace() -> str | None:
    """The namespace of process ids, such as `pid:[4026531836]`; None where the system does not say."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """The start of a process: boot id and clock ticks since boot; `ended` in place of the ticks for a zombie."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name of the program, in parentheses, may hold anything; the 22nd field is the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot}:ended" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    except (OSError, IndexError):
        return None
