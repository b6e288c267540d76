"""The most memory that this process has held: for `run.json`."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float | None:
    """The most memory that this process has held so far, in MiB; None where the system does not say.

    On Linux it is the kernel's `VmHWM`: what getrusage says there begins at what the process that started this one
    held, be it a test suite or a notebook.
    """
    if sys.platform == "win32":
        return None
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return round(int(value.split()[0]) / 2**10, 1)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
