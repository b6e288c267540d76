"""A stored table is what is computed again, up to the order in which another processor adds."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actkit.verify.tables.compare import compare
from actkit.verify.tables.findings import Findings

STORED = {"n": [1, 2], "mean": [0.5, None], "name": ["a", "b"], "vector": [[3.0, 4.0], [1.0, 0.0]], "url": ["x", "y"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"url": [None, None]}, []),
        ({"mean": [0.5 + 1e-12, None]}, []),
        ({"vector": [[3.0, 4.0001], [1.0, 0.0]]}, []),
        ({"mean": [0.5 + 1e-6, None]}, ["mean is not what the shards give"]),
        ({"mean": [0.5, 0.0]}, ["mean is not what the shards give"]),
        ({"vector": [[3.0, 4.0], [1.0, 0.01]]}, ["vector is not what the shards give"]),
        ({"vector": [[3.0, 4.0], None]}, ["vector is not what the shards give"]),
        ({"n": [1, 3], "name": ["a", "c"]}, ["n is not what the shards give", "name is not what the shards give"]),
    ],
)
def test_each_column_that_differs_is_named(change: dict[str, Any], says: list[str], tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    compare(tmp_path / "t" / "part-00000.parquet", pa.table({**STORED, **change}), pa.table(STORED), findings)
    assert len(findings.problems) == len(says)
    for problem, text in zip(findings.problems, says, strict=True):
        assert text in str(problem)


def test_rows_and_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    stored = pa.table(STORED)
    compare(tmp_path / "t", stored.slice(1), stored, findings)
    compare(tmp_path / "t", stored.drop_columns(["n"]), stored, findings)
    assert [text for text in ("1 rows, but the shards give 2", "no column n") if text in str(findings.problems)] == [
        "1 rows, but the shards give 2",
        "no column n",
    ]
