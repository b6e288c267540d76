"""What an SAE's features take: by its own `encode`, found without it in float32, and found in bfloat16.

    python -m tests.benchmarks.encode [--widths 16384 65536] [--d-in 768] [--tokens 1024] [--rounds 3] [--out TABLE.md]

The three take turns on one thread, whose CPU time is read, so that what else a machine does matters little. All make
the rows of the table `features`, top-50 a token, with a random SAE of which about 60 features fire.
"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.saes import sae_lens
from actkit.backends.saes.sae import Sae
from actkit.config import SaeSpec
from actkit.pipeline.data import Kept
from actkit.pipeline.reducers.features import top_features
from actkit.pipeline.reducers.sae_health import Health
from tests.benchmarks import report
from tests.benchmarks.__main__ import machine
from tests.benchmarks.reference import TOP_K
from tests.benchmarks.workloads import write_sae


def ways(folder: Path, x: torch.Tensor, width: int) -> dict[str, Sae]:
    """A random SAE for vectors as `x` [n, d_in] has them, read in three ways."""
    write_sae(folder, x[:100], 1, width)
    found, low = (sae_lens.load(SaeSpec(path=str(folder)), "cpu", dtype) for dtype in ("float32", "bfloat16"))
    return {"own `encode`": dataclasses.replace(found, active=None), "float32": found, "bfloat16": low}


def vectors(n: int, d_in: int) -> torch.Tensor:
    """[n, d_in] random ones; one number of each is many times the others, as in models."""
    x = torch.randn(n, d_in, generator=torch.Generator().manual_seed(1))
    x[:, 5] += 8
    return x


def reduced(sae: Sae, x: torch.Tensor) -> tuple[float, pa.Table]:
    """CPU seconds of this thread, and the rows."""
    n = len(x)
    kept = Kept(np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), {str(sae.hook_point): x})
    began = time.thread_time()
    rows = top_features([sae], TOP_K, 0.0, {sae.name: Health(sae)})(kept)[sae.name]
    return time.thread_time() - began, rows


def apart(first: pa.Table, second: pa.Table) -> tuple[float, float]:
    """Which share of the first's members the second has, and the largest difference of a token's sorted values, as a
    share of its largest."""
    common = of = 0
    worst = 0.0
    for a, b in zip(first.to_pylist(), second.to_pylist(), strict=True):
        common, of = common + len({*a["feature_ids"]} & {*b["feature_ids"]}), of + len(a["feature_ids"])
        x, y = (np.asarray(row["feature_activations"]) for row in (a, b))
        least = min(len(x), len(y))
        if least:
            worst = max(worst, float(abs(x[:least] - y[:least]).max() / x[0]))
    return common / of, worst


def measure(width: int, x: torch.Tensor, rounds: int) -> list[Any]:
    """A row of the table: CPU seconds of each way, then what is the same."""
    with tempfile.TemporaryDirectory() as folder:
        saes = ways(Path(folder) / "sae", x, width)
        seconds = dict.fromkeys(saes, float("inf"))
        rows = {}
        for _ in range(rounds):
            for name, sae in saes.items():
                spent, rows[name] = reduced(sae, x)
                seconds[name] = min(seconds[name], spent)
    members, error = apart(rows["own `encode`"], rows["bfloat16"])
    return [*(f"{spent:.2f}" for spent in seconds.values()), f"{members:.2%} of members, values to {error:.0e}"]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[16384, 65536])
    parser.add_argument("--d-in", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x = vectors(options.tokens, options.d_in)
    lines = [
        "| features | own `encode`, s | float32, s | bfloat16, s | of `encode`'s, in bfloat16 |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {width:,} | {' | '.join(measure(width, x, options.rounds))} |" for width in options.widths]
    report.show(f"{machine()}\n\n" + "\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
