"""npz and safetensors: the tables' rows as arrays, and concept directions, read back by numpy and safetensors."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import actkit
from actkit.errors import RunError, UsageError
from actkit.export.formats import export
from tests.export.conftest import PROMPTS, dense, rows_of, shards, stacked

READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    "npz": lambda path: dict(np.load(path).items()),
    "safetensors": load_file,
}


def check(run: Path, found: Mapping[str, Any]) -> None:
    names = pd.read_parquet(run / "activations", columns=["hook_point"])["hook_point"].unique().tolist()
    assert set(found) == {"sequence_ids", "positions", *names}
    for name in names:
        rows = rows_of(run, name)
        assert found["sequence_ids"].tolist() == rows["sequence_id"].tolist()
        assert found["positions"].tolist() == rows["position"].tolist()
        assert np.array_equal(found[name], stacked(rows))


@pytest.mark.parametrize("to", READERS)
def test_a_run_of_several_shards_is_one_array_a_hook_point(
    to: str, dpo_run: Path, capture_run: Path, tmp_path: Path
) -> None:
    for run in (dpo_run, capture_run):
        assert shards(run, "activations") > 1
        found = READERS[to](export(run, to, tmp_path / f"{run.parent.name}.{to}"))
        check(run, found)
        kinds = [array.dtype for name, array in found.items() if name.startswith("blocks.")]
        assert kinds == [np.dtype(np.float32)] * (len(found) - 2), "beside sequence_ids and positions"


@pytest.mark.parametrize("to", READERS)
def test_float16_stays_and_hook_points_may_differ_in_width(to: str, tmp_path: Path) -> None:
    names = ("hook_resid_post", "attn.hook_z")
    spec = dense(tmp_path / "run", layers="1", hook_points=names, store_dtype="float16")
    run = actkit.run_capture(actkit.CaptureSpec(PROMPTS, positions="last"), spec).path
    found = READERS[to](export(run, to, tmp_path / "x"))
    check(run, found)
    assert {array.dtype for name, array in found.items() if name.startswith("blocks.")} == {np.dtype(np.float16)}


@pytest.mark.parametrize("to", READERS)
def test_the_same_run_gives_the_same_bytes(to: str, capture_run: Path, tmp_path: Path) -> None:
    first, second = (export(capture_run, to, tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    if to == "npz":
        with zipfile.ZipFile(first) as archive:
            assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_safetensors_begin_aligned_and_name_the_model(capture_run: Path, tmp_path: Path) -> None:
    path = export(capture_run, "safetensors", tmp_path / "x")
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    with safe_open(path, "numpy") as file:
        assert file.metadata()["model"] == "tiny" and file.metadata()["command"] == "capture"


def test_a_method_is_for_directions_only(capture_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs of concept"):
        export(capture_run, "npz", tmp_path / "x", method="pca")


@pytest.mark.parametrize("to", READERS)
def test_directions_are_unit_vectors_with_their_norms(to: str, concept_run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(concept_run / "directions")
    found = READERS[to](export(concept_run, to, tmp_path / "x"))
    expected = table[table["method"] == "mean-diff"].set_index("hook_point")
    assert set(found) == {*expected.index, *(f"{name}.norm" for name in expected.index)}
    for name, row in expected.iterrows():
        assert np.array_equal(found[str(name)], row["direction"])
        assert np.linalg.norm(found[str(name)]) == pytest.approx(1, rel=1e-6)
        assert found[f"{name}.norm"] == row["norm"]


@pytest.mark.parametrize("to", READERS)
def test_a_method_without_norms_has_none(to: str, concept_run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(concept_run / "directions")
    found = READERS[to](export(concept_run, to, tmp_path / "x", method="logistic"))
    expected = table[table["method"] == "logistic"].set_index("hook_point")["direction"]
    assert set(found) == set(expected.index)
    assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_an_unknown_method_is_refused_with_those_that_are_there(concept_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directions by lda") as caught:
        export(concept_run, "npz", tmp_path / "x", method="lda")
    assert caught.value.hint == "--method: logistic, mean-diff"


def test_a_run_without_a_table_is_refused(concept_run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_bytes((concept_run / "run.json").read_bytes())
    with pytest.raises(RunError, match="no directions"):
        export(tmp_path / "run", "gguf", tmp_path / "x")
