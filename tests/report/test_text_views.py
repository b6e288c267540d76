"""Features of texts as pages show them: of each SAE its own, by sequence and position."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.report import live
from actkit.report.run_blocks import n_texts
from actkit.report.text_views import Scale, places_of
from actkit.runs.run import open_run

MAXIMA = np.array([4.0, 2.0, 1.0, 8.0], dtype=np.float32)


def test_each_of_several_saes_has_its_own_features(tmp_path: Path) -> None:
    """Row groups hold one SAE each: those of the other SAE are empty once they are filtered, and that was an error."""
    (tmp_path / "features").mkdir()
    of_saes = {"a": [([3, 1], [8.0, 1.0]), ([], [])], "b": [([2], [1.0]), ([0], [2.0])]}
    tables = [
        pa.table(
            {
                "sequence_id": pa.array([5, 5], pa.int64()),
                "position": pa.array([0, 1], pa.int32()),
                "sae": [sae, sae],
                "feature_ids": pa.array([ids for ids, _ in rows], pa.list_(pa.int32())),
                "feature_activations": pa.array([values for _, values in rows], pa.list_(pa.float32())),
            }
        )
        for sae, rows in of_saes.items()
    ]
    with pq.ParquetWriter(tmp_path / "features" / "part-00000.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    assert places_of(tmp_path, Scale("a", MAXIMA), [5]) == {(5, 0): ([3, 1], [255, 128]), (5, 1): ([], [])}
    assert places_of(tmp_path, Scale("b", MAXIMA), [5]) == {(5, 0): ([2], [255]), (5, 1): ([0], [128])}
    exact = Scale("a", np.zeros(0, dtype=np.float32), exact=True)
    assert places_of(tmp_path, exact, [5])[5, 0] == ([3, 1], [8.0, 1.0])


def test_texts_that_are_not_listed_are_counted_without_shared_beginnings(
    six_runs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(six_runs["dpo"])
    rows = run.to_pandas("sequences")
    n = int((~rows["sequence_id"].isin(rows["parent_id"])).sum())
    assert n_texts(run) == n < len(rows)
    monkeypatch.setattr(live, "ROWS", 3)
    index = live.LiveRun(run).index
    assert len(index["sequences"]) == 3
    assert index["missing"] == [f"the first 3 of {n} texts are listed; each has a page"]
    monkeypatch.setattr(live, "ROWS", n)
    assert not live.LiveRun(run).index["missing"], "all are there"
