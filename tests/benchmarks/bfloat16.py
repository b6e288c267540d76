"""How much faster bfloat16 is than float32 on this processor, and what it costs: the model in it, or the SAE alone.

    python -m tests.benchmarks.bfloat16 [--small] [--rounds 3] [--out TABLE.md]

The workloads are those of `python -m tests.benchmarks`. actkit's own command runs each in float32 and in bfloat16 in
turn; the ratio is of the least time of the work itself. Of the features it says how many tokens have the same top-50
set in both, and how many members of those sets are the same; of activations, the error relative to the vector. For
the SAE alone (`--sae-dtype bfloat16`) the ratio is of what `run.json` says that encoding took, and the values' error
relative to a token's largest is given too.
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
SAE_ALONE = "sae-in-bfloat16"
"""The run whose SAE alone is in bfloat16, where there is an SAE."""
WITH_SAE = ("documents", "answers")


def measure(inputs: workloads.Inputs, workload: str, rounds: int) -> list[str]:
    """Seconds in float32 by those in bfloat16, and how the tables of the two agree; both again for the SAE alone."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    specs = {}
    for dtype in DTYPES:
        model = AutoModelForCausalLM.from_pretrained(inputs.model, dtype=getattr(torch, dtype)).eval()
        specs[dtype] = ModelSpec("gpt2-random", device="cpu", dtype=dtype, loaded=(model, tokenizer))
    seconds: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    encode: dict[str, list[float]] = {"float32": [], SAE_ALONE: []}
    for _ in range(rounds):
        for dtype in DTYPES:
            facts = own.run(inputs, workload, specs[dtype], inputs.folder / dtype)
            seconds[dtype].append(own.work_seconds(facts))
            if dtype == "float32":
                encode[dtype].append(facts["profile"]["encode"]["seconds"])
        if workload in WITH_SAE:
            facts = own.run(inputs, workload, specs["float32"], inputs.folder / SAE_ALONE, "bfloat16")
            encode[SAE_ALONE].append(facts["profile"]["encode"]["seconds"])
    cells = [
        f"{min(seconds['float32']) / min(seconds['bfloat16']):.2f}",
        agreement(inputs.folder, workload, "bfloat16"),
    ]
    if workload not in WITH_SAE:
        return [*cells, "–", "–"]
    alone = agreement(inputs.folder, workload, SAE_ALONE)
    return [*cells, f"{min(encode['float32']) / min(encode[SAE_ALONE]):.2f}", alone]


def agreement(folder: Path, workload: str, other: str) -> str:
    """What of the float32 run's numbers is the same in the other run's."""
    if workload in WITH_SAE:
        tables = [pd.read_parquet(folder / name / "features") for name in ("float32", other)]
        sets = [(set(a), set(b)) for a, b in zip(*(table["feature_ids"] for table in tables), strict=True)]
        equal = sum(a == b for a, b in sets) / len(sets)
        members = sum(len(a & b) for a, b in sets) / sum(len(a) for a, _ in sets)
        said = f"{equal:.0%} of top-50 sets, {members:.2%} of their members"
        if other != SAE_ALONE:
            return said
        values = zip(*(table["feature_activations"] for table in tables), strict=True)
        error = max(abs(a[: len(b)] - b[: len(a)]).max() / a[0] for a, b in values if len(a))
        return f"{said}, values to {error:.0e}"
    first, second = (
        np.stack(pd.read_parquet(folder / name / "activations")["activation"].to_list()) for name in ("float32", other)
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
    lines = [
        "| work | times as fast as float32 | the same as in float32 | SAE alone, times as fast | the same |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        inputs = workloads.make(Path(folder), workloads.SMALL if options.small else workloads.FULL)
        for workload in options.only or WORKLOADS:
            cells = measure(inputs, workload, options.rounds)
            lines.append(f"| {WORKLOADS[workload]} | {' | '.join(cells)} |")
    text = f"{machine()}\n\n" + "\n".join(lines) + "\n"
    report.show(text, options.out)


if __name__ == "__main__":
    main()
