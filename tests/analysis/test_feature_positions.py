"""`feature_positions` is `features` in order of feature, whatever the ranges and row groups are."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis import entries_by_feature
from actkit.analysis import feature_positions as module
from actkit.runs.by_feature import positions_of_feature
from actkit.verify.tables.run import verify


@pytest.mark.quick(2)
@pytest.mark.parametrize(("most", "group"), [(1 << 20, 1 << 16), (300, 64), (7, 2)])
def test_every_entry_is_there_once_in_order(
    most: int, group: int, six_runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_by_feature, "RANGE", most)
    monkeypatch.setattr(entries_by_feature, "CHUNK", most)
    monkeypatch.setattr(module, "GROUP", group)
    run = six_runs["feature-dataset"]
    rows = pq.read_table(run / "features").to_pylist()
    expected = sorted(
        (feature, row["sequence_id"], row["position"], value)
        for row in rows
        for feature, value in zip(row["feature_ids"], row["feature_activations"], strict=True)
    )
    sae = rows[0]["sae"]
    parts = list(module.feature_positions(run, sae, 4096, tmp_path))
    found = pa.concat_tables(table for groups in parts for table in groups.values())
    assert [tuple(row.values())[1:] for row in found.to_pylist()] == expected
    assert all(sum(map(len, groups.values())) <= most for groups in parts)
    assert not list(tmp_path.iterdir()), "the temporary file is gone"


def test_one_feature_is_read_as_it_stands_in_features_with_the_table_and_without(
    six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    for command in ("feature-dataset", "sae-extract"):
        run = six_runs[command]
        stored = pq.read_table(run / "feature_positions")
        assert len(stored)
        feature, sae = stored["feature_id"][len(stored) // 2].as_py(), stored["sae"][0].as_py()
        bare = tmp_path / command
        bare.mkdir()
        (bare / "features").symlink_to(run / "features")
        first, second = positions_of_feature(run, sae, feature), positions_of_feature(bare, sae, feature)
        assert first.equals(second) and len(first)
        assert not len(positions_of_feature(run, sae, 99_999)) and not len(positions_of_feature(run, "none", feature))


def test_verify_finds_a_changed_entry(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(six_runs["sae-extract"], run)
    assert not verify(run).problems
    part = next((run / "feature_positions").glob("*.parquet"))
    table = pq.read_table(part, partitioning=None)
    values = table["activation"].to_pylist()
    values[-1] *= 1.001
    at = table.column_names.index("activation")
    pq.write_table(table.set_column(at, "activation", pa.array(values, type=pa.float32())), part)
    assert any("feature_positions" in str(problem) for problem in verify(run).problems)
