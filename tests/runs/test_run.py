"""A finished run, read: arrays and matrices hold what pandas reads, and no other hook point's bytes are touched."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import actkit
from actkit.errors import RunError

CPU = actkit.ModelSpec("tiny", device="cpu")
HOOK_POINTS = ("blocks.1.hook_resid_post", "blocks.3.hook_resid_post")
PAIRS = [
    {"prompt": "How deep is the sea?", "chosen": " About 3,700 metres.", "rejected": " Nobody knows, really."},
    {"prompt": "Say yes.", "chosen": " Yes", "rejected": " Yes and more of it"},
    {"prompt": "What is red?", "chosen": " A rose is 🌹.", "rejected": " A rose? No."},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> actkit.Run:
    """Preference pairs in several shards, with the features of two SAEs."""
    folder = tmp_path_factory.mktemp("run")
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    saes = [actkit.SaeSpec("tiny", name) for name in HOOK_POINTS]
    output, batch = actkit.OutputSpec(folder / "run"), actkit.BatchSpec(shard_sequences=4)
    dense = actkit.DenseSpec(CPU, output, "1,3", batch=batch, saes=saes)
    return actkit.open_run(actkit.run_dpo(actkit.DpoSpec(str(path), chat=False), dense).path)


def rows_of(run: actkit.Run, hook_point: str, side: str | None) -> pd.DataFrame:
    """The rows as pandas alone reads them."""
    table = pd.read_parquet(run.path / "activations", filters=[("hook_point", "==", hook_point)])
    if side is not None:
        sequences = pd.read_parquet(run.path / "sequences")
        table = table[table["sequence_id"].isin(sequences[sequences["side"] == side]["sequence_id"])]
    return table.sort_values(["sequence_id", "position"], ignore_index=True)


@pytest.mark.parametrize("side", [None, "shared", "chosen", "rejected"])
def test_activations_and_positions_are_those_of_the_table(run: actkit.Run, side: str | None) -> None:
    assert len(list((run.path / "activations").iterdir())) > 1 and run.hook_points == HOOK_POINTS
    for hook_point in HOOK_POINTS:
        expected = rows_of(run, hook_point, side)
        found = run.activations(hook_point, side=side)
        assert found.dtype == np.float32 and found.shape == (len(expected), 192) and found.flags.writeable
        assert np.array_equal(found, np.stack(expected["activation"].to_list()))
        pd.testing.assert_frame_equal(run.positions(hook_point, side), expected[["sequence_id", "position"]])


def test_only_the_row_groups_of_one_hook_point_are_read(run: actkit.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *given: Any, **options: Any) -> Any:
        at = self.schema_arrow.get_field_index("hook_point")
        read.append(self.metadata.row_group(group).column(at).statistics.min)
        return plain(self, group, *given, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    run.activations(HOOK_POINTS[1])
    assert set(read) == {HOOK_POINTS[1]} and len(read) == len(list((run.path / "activations").iterdir()))


@pytest.mark.parametrize("name", ["tiny/blocks.1.hook_resid_post", "tiny/blocks.3.hook_resid_post"])
def test_features_are_those_of_the_table(run: actkit.Run, name: str) -> None:
    rows = run.to_pandas("features")
    rows = rows[rows["sae"] == name].sort_values(["sequence_id", "position"])
    matrix = run.features(name)
    widths = {sae["name"]: sae["d_sae"] for sae in run.facts["saes"]}
    assert matrix.shape == (len(rows), widths[name]) and matrix.nnz == rows["feature_ids"].str.len().sum()
    for own, row in zip(matrix, rows.itertuples(), strict=True):
        assert np.array_equal(own.toarray()[0, row.feature_ids], row.feature_activations)


def test_tables_are_whole_and_a_column_can_be_read_alone(run: actkit.Run) -> None:
    for name in run.tables:
        if list((run.path / name).glob("*.parquet")):
            pd.testing.assert_frame_equal(run.to_pandas(name), pd.read_parquet(run.path / name))
    assert run.table("tokens", ["token"]).column_names == ["token"]
    assert repr(run).startswith(f"Run('{run.path}': dpo with tiny, ") and "; rows: sequences " in repr(run)


def test_errors_name_what_there_is(run: actkit.Run, tmp_path: Path) -> None:
    calls: list[tuple[Any, str, str]] = [
        (lambda: run.activations("blocks.0.hook_resid_post"), "no activations of blocks.0", HOOK_POINTS[1]),
        (lambda: run.positions(HOOK_POINTS[0], side="left"), "no side left", "chosen"),
        (lambda: run.activations(HOOK_POINTS[0], side="left"), "no side left", "chosen"),
        (lambda: run.table("nothing"), "no table nothing", "sequences"),
        (lambda: run.features(), "which SAE", "tiny/blocks.1"),
        (lambda: run.features("other"), "which SAE", "tiny/blocks.1"),
        (lambda: actkit.open_run(tmp_path), "no finished run", ""),
    ]
    for call, says, hint in calls:
        with pytest.raises(RunError, match=says) as caught:
            call()
        assert hint in caught.value.hint
