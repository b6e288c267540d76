"""One actkit command, alone in a process: prints the most memory that it held, in MB, last on standard error.

python -m tests.benchmarks.peak dpo pairs.jsonl --layers 2 --out runs/x
"""

import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """The most resident memory of this process so far, in MB (2^20 bytes).

    It is what Linux calls the high-water mark: getrusage's figure, for other systems, begins with the parent's.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Run the command line and exit as it does."""
    from actkit.cli import main as command_line

    try:
        command_line(sys.argv[1:])
    finally:
        sys.stdout.flush()
        print(f"{peak_mb():.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
