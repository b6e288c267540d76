"""What sharing a run out among workers costs before it gains anything: a small run by one process and by workers.

    python -m tests.benchmarks.engines [--rounds 3] [--workers 2] [--out TABLE.md]

1. `actkit capture` of 40 short prompts through `tiny`, which computes for a moment, so that it is starting that is
   measured: one process; `--shard auto`, whose workers are processes of this machine; `--engine ray`, whose workers are
   tasks of a cluster that is started for them. They take turns.
2. Of each the least seconds until it has ended are taken: what else a machine does only ever adds.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks import report

PROMPTS = 40


def ways(workers: int) -> dict[str, tuple[str, ...]]:
    """Each way, as it is called in the table, and its options."""
    found: dict[str, tuple[str, ...]] = {
        "one process": (),
        f"`--shard auto --workers {workers}`": ("--shard", "auto", "--workers", str(workers)),
    }
    if find_spec("ray") is not None:
        found[f"`--engine ray --workers {workers}`"] = ("--engine", "ray", "--workers", str(workers))
    return found


def once(options: tuple[str, ...], folder: Path) -> float:
    """Seconds of one run. Raises CalledProcessError if it fails."""
    call = [sys.executable, "-m", "actkit", "capture", "in.jsonl", "--layers", "1", "-q", "--overwrite", "-o", "run"]
    call += ["--shard-sequences", "10", *options]
    start = time.perf_counter()
    subprocess.run(call, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - start


def table(found: Mapping[str, list[float]]) -> str:
    """The Markdown table: a row a way, and how much longer than one process it takes."""
    least = {name: min(seconds) for name, seconds in found.items()}
    alone = next(iter(least.values()))
    lines = ["| | seconds | beyond one process | times as long |", "|---|---|---|---|"]
    for name, seconds in least.items():
        lines.append(f"| {name} | {seconds:.1f} | {seconds - alone:.1f} | {seconds / alone:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Let the ways take turns, and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = (json.dumps({"prompt": f"Text {number} of some."}) for number in range(PROMPTS))
        (folder / "in.jsonl").write_text("\n".join(rows), encoding="utf-8")
        found: dict[str, list[float]] = {way: [] for way in ways(asked.workers)}
        for _ in range(asked.rounds):
            for way, options in ways(asked.workers).items():
                found[way].append(once(options, folder))
    report.show(table(found), asked.out)


if __name__ == "__main__":
    main()
