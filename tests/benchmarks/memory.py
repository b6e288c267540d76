"""The most memory that each command holds, and what a record costs, for few and for many records of the same kind.

    python -m tests.benchmarks.memory [--records 1000 10000 100000] [--only dpo] [--shard-sequences 256] [--out X.md]

1. For each command and number of records a file is made: short texts out of the words of tests/data, from a seed, so
   that the larger file begins as the smaller one does.
2. The command runs on it with `tiny`, one layer, in a process of its own, whose high-water mark is read.
3. The table has the figures in MB (2^20 bytes), and the last over the first.
4. Beside them stands the CPU time of a record, all threads together, from each number of records to the next: what it
   takes to start is not in it.

A run holds two shards, one that is computed and one that is written; 2,000 short texts are one shard or less. What
grows with the dataset, and not only until shards are full, is told with `--shard-sequences 256`: both runs have full
shards then.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

WORDS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
LAYER = ("--layers", "2")
SAE = ("--target-layer", "2")
Make = Callable[[Callable[[], str], int], dict[str, Any]]
"""Text and number → a record."""
COMMANDS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "dpo": (lambda text, _: {"prompt": text(), "chosen": text(), "rejected": text()}, LAYER),
    "capture": (lambda text, _: {"prompt": text()}, LAYER),
    "concept": (lambda text, _: {"positive": text(), "negative": text()}, LAYER),
    "sae-extract": (lambda text, _: {"prompt": text(), "response": text()}, (*SAE, "--save-all-tokens")),
    "feature-dataset": (lambda text, _: {"text": text()}, SAE),
    "reward-detect": (lambda text, n: {"text": text(), "feedback": ("negative", "positive")[n % 2]}, SAE),
}
"""Command → its records and its options."""


def records(command: str, count: int) -> Iterator[str]:
    """Lines of JSON: the same first ones for every `count`."""
    rows = [json.loads(line) for line in WORDS.read_text(encoding="utf-8").splitlines()]
    words = [word for row in rows for word in row["chosen"].split() if word.isalpha()]
    draw = random.Random(0)
    make = COMMANDS[command][0]

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(4, 16)))

    for number in range(count):
        yield json.dumps(make(text, number)) + "\n"


def peak(command: str, count: int, folder: Path, shard_sequences: int | None = None) -> tuple[float, float]:
    """The most MB that `command` holds on `count` records, and its CPU seconds.

    Raises CalledProcessError if it fails.
    """
    path = folder / f"{command}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(records(command, count))
    call = [sys.executable, "-m", "tests.benchmarks.peak", command, str(path), *COMMANDS[command][1], "--model", "tiny"]
    call += ["--device", "cpu", "--out", str(folder / "run"), "--overwrite", "--quiet"]
    call += [] if shard_sequences is None else ["--shard-sequences", str(shard_sequences)]
    done = subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    mb, seconds = done.stderr.split()[-2:]
    return float(mb), float(seconds)


def table(held: dict[str, list[tuple[float, float]]], counts: Sequence[int]) -> str:
    """The Markdown table: a row a command; MB for each number of records, last over first, and ms of CPU a record.

    `held` has MB and CPU seconds for each of `counts`.
    """
    between = list(pairwise(counts))
    steps = [f"{first:,} to {last:,}, ms a record" for first, last in between]
    columns = [*(f"{count:,} records, MB" for count in counts), "ratio", *steps]
    lines = [f"| command | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for command, figures in held.items():
        memory = [f"{mb:,.0f}" for mb, _ in figures]
        costs = [
            f"{1000 * (after - before) / (last - first):.2f}"
            for ((_, before), (_, after)), (first, last) in zip(pairwise(figures), between, strict=True)
        ]
        lines.append(f"| `{command}` | {' | '.join([*memory, f'{figures[-1][0] / figures[0][0]:.2f}', *costs])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[2000, 50000])
    parser.add_argument("--only", choices=list(COMMANDS), action="append")
    parser.add_argument("--shard-sequences", type=int, help="most sequences in a shard; by default the command's own")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    held: dict[str, list[tuple[float, float]]] = {}
    for command in options.only or COMMANDS:
        for count in options.records:
            with tempfile.TemporaryDirectory() as folder:
                mb, seconds = peak(command, count, Path(folder), options.shard_sequences)
            held.setdefault(command, []).append((mb, seconds))
            print(f"{command}, {count:,} records: {mb:.0f} MB, {seconds:.0f} CPU s", file=sys.stderr, flush=True)
    text = table(held, options.records)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
