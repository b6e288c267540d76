"""How many active features a CPU second the tables over a run's `features` take: `feature_stats`, `feature_positions`.

    python -m tests.benchmarks.statistics [--tokens 100000] [--d-sae 16384] [--active 50] [--rounds 3] [--out TABLE.md]

1. A run is made up from a seed, without a model: sequences of 256 tokens, `--active` features a token, some far more
   frequent than others, in shards of 32,768 tokens.
2. Each table is computed over it, `--rounds` times, and dropped, as it would come to be written.
3. Of each the least CPU time of the process is taken, all threads together: a busy machine adds little to that.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.runs.writer import start_run
from actkit.schemas import arrow_schema
from tests.benchmarks import report

SHARD, SEQUENCE = 1 << 15, 1 << 8
SAE = "made/up"


def made_up(out: Path, n_tokens: int, d_sae: int, active: int) -> Path:
    """A run's tables `sequences`, `tokens` and `features`; the first token of each sequence is special."""
    draw = np.random.default_rng(0)
    directory = start_run(out, {})
    odds = (1 / np.arange(1, d_sae + 1) ** 0.7)[draw.permutation(d_sae)]
    ends = np.cumsum(odds / odds.sum())
    for part, first in enumerate(range(0, n_tokens, SHARD)):
        n = min(SHARD, n_tokens - first)
        at = np.arange(first, first + n)
        ids = np.searchsorted(ends, draw.random((n, active + active // 4))).astype(np.int32).clip(max=d_sae - 1)
        rows = [row[np.sort(np.unique(row, return_index=True)[1])][:active] for row in ids]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
        values = -np.sort(-draw.exponential(1, (n, active)).astype(np.float32), axis=1)
        kept = np.arange(active) < np.diff(offsets)[:, None]
        features = {
            "sequence_id": at // SEQUENCE,
            "position": at % SEQUENCE,
            "sae": pa.array([SAE] * n),
            "feature_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows))),
            "feature_activations": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[kept])),
            "n_active": np.diff(offsets),
        }
        words = draw.integers(0, 1000, (len(np.unique(at // SEQUENCE)), SEQUENCE))
        sequences = _filled(
            "sequences",
            {
                "sequence_id": np.unique(at // SEQUENCE),
                "char_offset": np.zeros(len(words), dtype=np.int64),
                "text": pa.array([" ".join(f"{word:03}" for word in row.tolist()) for row in words]),
            },
        )
        tokens = _filled(
            "tokens",
            {
                "sequence_id": at // SEQUENCE,
                "position": at % SEQUENCE,
                "char_start": at % SEQUENCE * 4,
                "char_end": at % SEQUENCE * 4 + 3,
                "is_special": at % SEQUENCE == 0,
                "is_sink": np.zeros(n, dtype=np.bool_),
            },
        )
        directory.write("features", {SAE: pa.table(features, schema=arrow_schema("features"))}, part)
        directory.write("sequences", {"sequences": sequences}, part)
        directory.write("tokens", {"tokens": tokens}, part)
    return directory.partial


def _filled(table: str, columns: dict[str, Any]) -> pa.Table:
    """A table of the schema, null where nothing is given."""
    schema, n = arrow_schema(table), len(next(iter(columns.values())))
    return pa.table([columns.get(field.name, pa.nulls(n, field.type)) for field in schema], schema=schema)


def seconds(work: Callable[[], Iterable[object]], rounds: int) -> float:
    """The least CPU seconds that it takes to go over what `work` makes."""
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _one in work():
            pass
        least = min(least, time.process_time() - began)
    return least


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--d-sae", type=int, default=16_384)
    parser.add_argument("--active", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = made_up(Path(folder) / "run", options.tokens, options.d_sae, options.active)
        entries = options.tokens * options.active
        works: dict[str, Callable[[], Iterable[object]]] = {
            "feature_stats": lambda: feature_stats(run, SAE, options.d_sae, scratch=run),
            "feature_positions": lambda: feature_positions(run, SAE, options.d_sae, run),
        }
        lines = ["| table | CPU seconds | million entries a CPU second |", "|---|---|---|"]
        for name, work in works.items():
            took = seconds(work, options.rounds)
            lines.append(f"| `{name}` | {took:.2f} | {entries / took / 1e6:.1f} |")
    report.show("\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
