"""h5: what h5py reads is what the tables say, both sides of each pair whole again."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import actkit
from actkit.export.formats import export
from tests.export.conftest import PAIRS, dense, lines, rows_of, shards, stacked

HOOK_POINTS = ("blocks.1.hook_resid_post", "blocks.3.hook_resid_post")


@pytest.fixture(scope="module")
def exported(dpo_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[h5py.File]:
    path = export(dpo_run, "h5", tmp_path_factory.mktemp("h5") / "pairs.h5")
    with h5py.File(path) as file:
        yield file


def side_of(run: Path, record_id: int, side: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that belong to one side of a pair, by position."""
    sequences = pd.read_parquet(run / "sequences")
    own = sequences[(sequences["record_id"] == record_id) & sequences["side"].isin(["shared", side])]
    return table[table["sequence_id"].isin(own["sequence_id"])].sort_values("position", ignore_index=True)


def check(run: Path, file: h5py.File) -> None:
    pairs = pd.read_parquet(run / "pairs")
    tokens = pd.read_parquet(run / "tokens")
    assert len(file["metadata"]) == len(pairs) and len(file["activations"]) == 2 * len(pairs)
    for number, pair in enumerate(pairs.itertuples()):
        for side in ("chosen", "rejected"):
            group = file[f"activations/sample_{number}_{side}"]
            assert group.attrs["record_id"] == pair.record_id
            own = side_of(run, pair.record_id, side, tokens)
            assert own["position"].tolist() == list(range(getattr(pair, f"{side}_length")))
            assert set(group) == {*HOOK_POINTS}, "whoever loops over a side meets hook points only"
            texts = file[f"sequences/sample_{number}_{side}"]
            assert texts["token_ids"][:].tolist() == own["token_id"].tolist()
            assert texts["tokens"].asstr()[:].tolist() == own["token"].tolist()
            for hook_point in HOOK_POINTS:
                rows = side_of(run, pair.record_id, side, rows_of(run, hook_point))
                assert texts["positions"][:].tolist() == rows["position"].tolist()
                assert np.array_equal(group[hook_point][:], stacked(rows)), (number, side, hook_point)


def test_both_sides_are_what_the_tables_say(dpo_run: Path, exported: h5py.File) -> None:
    assert shards(dpo_run, "activations") > 2
    check(dpo_run, exported)
    assert exported["activations/sample_0_chosen/blocks.1.hook_resid_post"].compression == "gzip"


def test_a_side_is_what_the_plain_model_gives_for_the_whole_text(dpo_run: Path, exported: h5py.File) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from actkit.bundled import TINY

    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    group, texts = (exported[f"{name}/sample_2_rejected"] for name in ("activations", "sequences"))
    with torch.inference_mode():
        hidden = model(torch.tensor(texts["token_ids"][:][None]).long(), output_hidden_states=True).hidden_states[2][0]
    assert np.allclose(group[HOOK_POINTS[0]][:], hidden.numpy(), rtol=1e-4, atol=1e-4)


def test_metadata_has_divergence_and_lengths_and_minus_one_for_none(dpo_run: Path, exported: h5py.File) -> None:
    """Pair 1's chosen side is a beginning of its rejected one; the record behind pair 2 was rejected."""
    pairs = pd.read_parquet(dpo_run / "pairs")
    assert pairs["status"].tolist()[1] == "chosen_is_prefix" and pairs["record_id"].tolist() == [0, 1, 2, 4]
    for number, pair in enumerate(pairs.to_dict("records")):
        attributes = exported[f"metadata/sample_{number}"].attrs
        for side in ("chosen", "rejected"):
            divergence = pair[f"{side}_divergence"]
            expected = -1 if np.isnan(divergence) else divergence
            assert attributes[f"{side}_divergence_idx"] == expected
            assert attributes[f"{side}_length"] == pair[f"{side}_length"]
        assert attributes["record_id"] == pair["record_id"]
    assert exported["metadata/sample_1"].attrs["chosen_divergence_idx"] == -1
    assert exported["metadata/sample_1"].attrs["rejected_divergence_idx"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["from-divergence", "divergence"])
def test_a_subset_of_positions_says_which_they_are(tmp_path: Path, positions: Any) -> None:
    """Float16 stays float16; the side that has no token at the divergence has no row."""
    spec = actkit.DpoSpec(lines(tmp_path / "in.jsonl", PAIRS), positions, chat=False)
    run = actkit.run_dpo(spec, dense(tmp_path / "run", layers="1,3", store_dtype="float16")).path
    with h5py.File(export(run, "h5", tmp_path / "x.h5", compression="lzf")) as file:
        check(run, file)
        array = file["activations/sample_0_chosen/blocks.1.hook_resid_post"]
        assert array.dtype == np.float16 and array.compression == "lzf"
        assert file["activations/sample_1_chosen/blocks.1.hook_resid_post"].shape == (0, 192)
        first = file["metadata/sample_0"].attrs["chosen_divergence_idx"]
        assert file["sequences/sample_0_chosen/positions"][0] == first > 0


def without(run: Path, table: str, drop: pa.Array, column: str) -> None:
    for part in (run / table).glob("part-*.parquet"):
        with pq.ParquetFile(part) as file:
            groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
        with pq.ParquetWriter(part, groups[0].schema, use_dictionary=False) as writer:
            for group in groups:
                keep = [value not in drop for value in group[column].to_pylist()]
                writer.write_table(group.filter(pa.array(keep)))


def test_sides_of_the_same_tokens_are_the_shared_sequence(dpo_run: Path, tmp_path: Path) -> None:
    """As `dpo` writes an `identical` pair: a shared sequence and no other."""
    run = tmp_path / "run"
    shutil.copytree(dpo_run, run)
    sequences = pd.read_parquet(run / "sequences")
    gone = sequences[(sequences["record_id"] == 0) & (sequences["side"] != "shared")]["sequence_id"].tolist()
    for table in ("sequences", "tokens", "activations"):
        without(run, table, gone, "sequence_id")
    with h5py.File(export(run, "h5", tmp_path / "x.h5", compression="none")) as file:
        shared = sequences[(sequences["record_id"] == 0) & (sequences["side"] == "shared")].iloc[0]
        rows = rows_of(run, HOOK_POINTS[0])
        for side in ("chosen", "rejected"):
            found = file[f"activations/sample_0_{side}/{HOOK_POINTS[0]}"]
            assert len(found) == shared["n_tokens"] and found.compression is None
            assert np.array_equal(found[:], stacked(rows[rows["sequence_id"] == shared["sequence_id"]]))


def test_a_nul_in_a_token_does_not_end_its_text(tmp_path: Path) -> None:
    pairs = [{"prompt": "a\0b", "chosen": " \0x", "rejected": " y"}]
    run = actkit.run_dpo(actkit.DpoSpec(lines(tmp_path / "in.jsonl", pairs)), dense(tmp_path / "run", layers="0")).path
    expected = side_of(run, 0, "chosen", pd.read_parquet(run / "tokens"))["token"]
    assert "\0" in "".join(expected)
    with h5py.File(export(run, "h5", tmp_path / "x.h5")) as file:
        found = file["sequences/sample_0_chosen/tokens"].asstr()[:].tolist()
    assert found == [text.replace("\0", "\ufffd") for text in expected]
