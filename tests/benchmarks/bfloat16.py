"""How much faster bfloat16 is than float32 on this processor, and what it costs.

    python -m tests.benchmarks.bfloat16 [--small] [--rounds 3] [--out TABLE.md]

The workloads are those of `python -m tests.benchmarks`. actkit's own command runs each in float32 and in bfloat16 in
turn; the ratio is of the least time of the work itself. Of the features it says how many tokens have the same top-50
set in both, and how many members of those sets are the same; of activations, the error relative to the vector.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from actkit.config import ModelSpec
from tests.benchmarks import own, report, workloads
from tests.benchmarks.__main__ import WORKLOADS, machine

DTYPES = ("float32", "bfloat16")


def measure(inputs: workloads.Inputs, workload: str, rounds: int) -> tuple[float, str]:
    """Seconds in float32 by those in bfloat16; how the tables of the two agree."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    specs = {}
    for dtype in DTYPES:
        model = AutoModelForCausalLM.from_pretrained(inputs.model, dtype=getattr(torch, dtype)).eval()
        specs[dtype] = ModelSpec("gpt2-random", device="cpu", dtype=dtype, loaded=(model, tokenizer))
    seconds: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    for _ in range(rounds):
        for dtype in DTYPES:
            facts = own.run(inputs, workload, specs[dtype], inputs.folder / dtype)
            seconds[dtype].append(own.work_seconds(facts))
    return min(seconds["float32"]) / min(seconds["bfloat16"]), agreement(inputs.folder, workload)


def agreement(folder: Path, workload: str) -> str:
    """What of the float32 run's numbers is the same in the bfloat16 run's."""
    if workload in ("documents", "answers"):
        first, second = (pd.read_parquet(folder / dtype / "features")["feature_ids"] for dtype in DTYPES)
        sets = [(set(a), set(b)) for a, b in zip(first, second, strict=True)]
        equal = sum(a == b for a, b in sets) / len(sets)
        members = sum(len(a & b) for a, b in sets) / sum(len(a) for a, _ in sets)
        return f"{equal:.0%} of top-50 sets, {members:.1%} of their members"
    first, second = (
        np.stack(pd.read_parquet(folder / dtype / "activations")["activation"].to_list()) for dtype in DTYPES
    )
    error = np.linalg.norm(first - second, axis=1) / np.linalg.norm(first, axis=1)
    return f"vectors to {np.median(error):.1e} of their norm (median), {error.max():.1e} (worst)"


def main() -> None:
    """Measure and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--small", action="store_true", help="a model of 4 layers and few texts")
    parser.add_argument("--only", choices=list(WORKLOADS), action="append")
    options = parser.parse_args()
    disable_progress_bar()
    lines = ["| work | times as fast as float32 | the same as in float32 |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        inputs = workloads.make(Path(folder), workloads.SMALL if options.small else workloads.FULL)
        for workload in options.only or WORKLOADS:
            ratio, agrees = measure(inputs, workload, options.rounds)
            lines.append(f"| {WORKLOADS[workload]} | {ratio:.2f} | {agrees} |")
    text = f"{machine()}\n\n" + "\n".join(lines) + "\n"
    report.show(text, options.out)


if __name__ == "__main__":
    main()
