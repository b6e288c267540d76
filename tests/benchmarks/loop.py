"""What the loop costs beside the model: on `tiny`, where a forward pass costs little, the share of it in a run.

    python -m tests.benchmarks.loop [--records 4000] [--rounds 3] [--only dpo] [--out TABLE.md]

1. Of short texts a file is made for each command, as `memory.py` makes it.
2. The command runs on all of its records and on the first alone: what the two take apart is the loop, statistics over
   the finished tables included, and loading and starting left out. The batches that it makes are noted.
3. The two take turns with the model alone on those batches, up to the same block, nothing kept. CPU time of the process
   is taken, all threads together, the least of the rounds: a busy machine adds little to that.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import actkit
from actkit.backends import describe, load
from actkit.bundled import SAES
from actkit.config import ModelSpec, SaeSpec
from tests.benchmarks import report
from tests.benchmarks.__main__ import machine
from tests.benchmarks.gpu import Noted, alone, noting
from tests.benchmarks.memory import records

COMMANDS = ("capture", "dpo", "feature-dataset")
LAYERS, SAE = "2", "blocks.2.hook_resid_post"


def run(command: str, path: Path, out: Path) -> int:
    """Run a command on `tiny`; how many tokens it ran."""
    model, output = ModelSpec("tiny", device="cpu"), actkit.OutputSpec(out, overwrite=True)
    dense = actkit.DenseSpec(model, output, layers=LAYERS)
    if command == "capture":
        done = actkit.run_capture(actkit.CaptureSpec(path=str(path)), dense)
    elif command == "dpo":
        done = actkit.run_dpo(actkit.DpoSpec(str(path)), dense)
    else:
        sparse = actkit.SparseSpec(model, [SaeSpec(path=str(SAES / SAE))], output)
        done = actkit.run_feature_dataset(actkit.FeatureDatasetSpec(str(path)), sparse)
    return int(done.facts["counts"]["tokens"])


def least(work: Callable[[], object], rounds: int) -> float:
    """The least CPU seconds that it takes."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def measure(command: str, count: int, rounds: int, folder: Path) -> tuple[int, float, float]:
    """Tokens, and the least CPU seconds of the model alone and of the loop."""
    every, first, out = folder / f"{command}.jsonl", folder / "first.jsonl", folder / "run"
    lines = list(records(command, count))
    every.write_text("".join(lines), encoding="utf-8")
    first.write_text(lines[0], encoding="utf-8")
    noted: Noted = []
    with noting(noted):
        tokens = run(command, every, out)
    model = load(describe(ModelSpec("tiny", device="cpu")), sorted({point for _, points in noted for point in points}))
    works = (lambda: alone(model, noted), lambda: run(command, every, out), lambda: run(command, first, out))
    turns = [[least(work, 1) for work in works] for _ in range(rounds)]
    of_model, whole, start = map(min, zip(*turns, strict=True))
    return tokens, of_model, whole - start


def main() -> None:
    """Measure and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--only", choices=COMMANDS, action="append")
    options = parser.parse_args()
    lines = [
        "| command | the model alone, tokens a CPU second | actkit, tokens a CPU second | share |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for command in options.only or COMMANDS:
            tokens, of_model, of_loop = measure(command, options.records, options.rounds, Path(folder))
            rates = f"{tokens / of_model:,.0f} | {tokens / of_loop:,.0f}"
            lines.append(f"| `{command}` | {rates} | {of_model / of_loop:.2f} |")
    report.show(f"{machine()}\n\n" + "\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
