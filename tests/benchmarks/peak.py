"""One actkit command, alone in a process: prints the most memory that it held, in MB, last on standard error.

python -m tests.benchmarks.peak dpo pairs.jsonl --layers 2 --out runs/x
"""

import sys

from actkit.pipeline.provenance import peak_memory_mb


def main() -> None:
    """Run the command line and exit as it does."""
    from actkit.cli import main as command_line

    try:
        command_line(sys.argv[1:])
    finally:
        sys.stdout.flush()
        print(peak_memory_mb(), file=sys.stderr)


if __name__ == "__main__":
    main()
