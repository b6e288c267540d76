"""What `concept_tables` holds does not grow with the pairs beyond a few numbers for each."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis.concepts.concept import concept_tables

SHARD, D = 2000, 64


def stored_run(path: Path, n: int) -> Path:
    """The tables of a run of n pairs, two a stem, that `concept_tables` reads."""
    rng = np.random.default_rng(0)
    for table in ("sequences", "tokens", "activations"):
        (path / table).mkdir(parents=True)
    shift = 0.1 * rng.normal(size=D)
    for part, first in enumerate(range(0, n, SHARD)):
        pairs = np.repeat(np.arange(first, min(first + SHARD, n)), 2)
        ids, side = 2 * first + np.arange(len(pairs)), np.arange(len(pairs)) % 2
        about = {
            "sequence_id": ids,
            "record_id": pairs,
            "label": np.array(["positive", "negative"])[side],
            "group": [f"stem {pair // 2}" for pair in pairs],
            "template": [str(pair % 2) for pair in pairs],
            "n_tokens": 6 + ids % 7,
            "response_start": np.full(len(ids), 1, dtype=np.int32),
            "text": [f"text {number}" for number in ids],
        }
        vectors = (rng.normal(size=(len(ids), D)) - side[:, None] * shift).astype(np.float32)
        rows = {
            "sequence_id": ids,
            "position": np.full(len(ids), 5, dtype=np.int32),
            "layer": np.full(len(ids), 2, dtype=np.int32),
            "hook_point": ["blocks.2.hook_resid_post"] * len(ids),
            "activation": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), D),
        }
        tokens = {name: rows[name] for name in ("sequence_id", "position")} | {"is_special": [False] * len(ids)}
        pq.write_table(pa.table(tokens), path / "tokens" / f"part-{part:05d}.parquet")
        pq.write_table(pa.table(about), path / "sequences" / f"part-{part:05d}.parquet")
        pq.write_table(pa.table(rows), path / "activations" / f"part-{part:05d}.parquet")
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_vectors_of_the_pairs(tmp_path: Path) -> None:
    """The vectors of both sides are 1024 bytes a pair in float64."""
    held = []
    for n in (200, 20_000, 40_000):  # the first imports what the others need
        run, report = stored_run(tmp_path / str(n), n), dict[str, object]()
        tracemalloc.start()
        rows = {name: len(table) for name, table in concept_tables(run, False, 0, report)}
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == {"contrasts": n, "directions": 3, "pair_stats": 2, "direction_scores": 3}
        assert report["n_pairs"] == n and report["n_stems"] == n // 2
    assert held[2] - held[1] < 200 * 20_000
