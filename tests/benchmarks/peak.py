"""One actkit command, alone in a process: prints the most memory that it held, in MB, and the CPU seconds of all of its
threads, last on standard error.

python -m tests.benchmarks.peak dpo pairs.jsonl --layers 2 --out runs/x
"""

import sys
import time

from actkit.pipeline.provenance import peak_memory_mb


def main() -> None:
    """Run the command line and exit as it does."""
    from actkit.cli import main as command_line

    try:
        command_line(sys.argv[1:])
    finally:
        sys.stdout.flush()
        print(peak_memory_mb(), time.process_time(), file=sys.stderr)


if __name__ == "__main__":
    main()
