"""pt: `torch.load(weights_only=True)` gives the tables' numbers, padded on the right; statistics stand beside it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import actkit
from actkit.errors import RunError, UsageError
from actkit.export.formats import export
from tests.export.conftest import CPU, PROMPTS, dense, rows_of, shards


def loaded(run: Path, out: Path, **options: Any) -> Any:
    return torch.load(export(run, "pt", out, **options), weights_only=True)


def check(run: Path, found: Any, keys: dict[Any, str]) -> None:
    """Every sequence of the run, with zeros after its end, at every hook point of `keys`."""
    sequences, tokens = pd.read_parquet(run / "sequences"), pd.read_parquet(run / "tokens")
    assert list(found["activations"]) == list(keys)
    for key, hook_point in keys.items():
        tensor, rows = found["activations"][key], rows_of(run, hook_point)
        assert tensor.shape == (len(sequences), rows.groupby("sequence_id").size().max(), 192)
        for number, sequence_id in enumerate(sequences["sequence_id"]):
            own = rows[rows["sequence_id"] == sequence_id]
            assert np.array_equal(tensor[number, : len(own)].numpy(), np.stack(own["activation"].to_list()))
            assert not tensor[number, len(own) :].any()
            positions = found["positions"][number].tolist()
            assert positions == own["position"].tolist() + [-1] * (tensor.shape[1] - len(own))
    longest = sequences["n_tokens"].max()
    for number, sequence_id in enumerate(sequences["sequence_id"]):
        own = tokens[tokens["sequence_id"] == sequence_id].sort_values("position")
        padding = [0] * (longest - len(own))
        assert found["input_ids"][number].tolist() == own["token_id"].tolist() + padding
        assert found["attention_mask"][number].tolist() == [1] * len(own) + padding


def test_several_prompts_are_a_padded_batch(capture_run: Path, tmp_path: Path) -> None:
    found = loaded(capture_run, tmp_path / "x.pt")
    assert shards(capture_run, "activations") == 2
    check(capture_run, found, {0: "blocks.0.hook_resid_post", 2: "blocks.2.hook_resid_post"})
    assert found["prompt"] == list(PROMPTS)
    tokens = pd.read_parquet(capture_run / "tokens")
    assert found["tokens"] == [own["token"].tolist() for _, own in tokens.groupby("sequence_id")]
    assert (found["num_layers"], found["captured_layers"]) == (4, [0, 2])


def test_one_prompt_is_a_text(tmp_path: Path) -> None:
    run = actkit.run_capture(actkit.CaptureSpec(PROMPTS[:1]), dense(tmp_path / "run", layers="3")).path
    found = loaded(run, tmp_path / "x.pt")
    check(run, found, {3: "blocks.3.hook_resid_post"})
    assert found["prompt"] == PROMPTS[0]
    assert "".join(found["tokens"]).endswith(PROMPTS[0])


def test_positions_that_were_kept_and_float16(tmp_path: Path) -> None:
    spec = actkit.CaptureSpec(PROMPTS, positions="0,-1")
    run = actkit.run_capture(spec, dense(tmp_path / "run", layers="2", store_dtype="float16")).path
    found = loaded(run, tmp_path / "x.pt")
    check(run, found, {2: "blocks.2.hook_resid_post"})
    assert found["activations"][2].dtype == torch.float16 and found["activations"][2].shape[1] == 2


def test_several_hook_points_of_a_layer_are_keys_by_name(tmp_path: Path) -> None:
    names = ("hook_resid_pre", "hook_resid_post")
    run = actkit.run_capture(actkit.CaptureSpec(PROMPTS), dense(tmp_path / "run", layers="1", hook_points=names)).path
    notes: list[str] = []
    found = loaded(run, tmp_path / "x.pt", on_note=notes.append)
    check(run, found, {f"blocks.1.{name}": f"blocks.1.{name}" for name in sorted(names)})
    assert len(notes) == 1 and "hook points for keys" in notes[0]


def test_vectors_of_different_lengths_are_left_out_and_named(tmp_path: Path) -> None:
    names = ("hook_resid_post", "attn.hook_pattern")
    spec = actkit.DenseSpec(CPU, actkit.OutputSpec(tmp_path / "run"), "1", names)
    run = actkit.run_capture(actkit.CaptureSpec(PROMPTS[:2]), spec).path
    notes: list[str] = []
    found = loaded(run, tmp_path / "x.pt", on_note=notes.append)
    check(run, found, {1: "blocks.1.hook_resid_post"})
    assert notes == ["blocks.1.attn.hook_pattern: left out, its vectors differ in length"]


def test_lengths_that_differ_between_shards_only_differ_too(tmp_path: Path) -> None:
    spec = actkit.DenseSpec(
        CPU, actkit.OutputSpec(tmp_path / "run"), "1", ("attn.hook_pattern",), actkit.BatchSpec(shard_sequences=1)
    )
    run = actkit.run_capture(actkit.CaptureSpec(PROMPTS[:2], positions="last"), spec).path
    with pytest.raises(RunError, match="no activations that fit an array"):
        export(run, "pt", tmp_path / "x.pt")


def test_the_statistics_are_those_of_the_activations(capture_run: Path, tmp_path: Path) -> None:
    found = loaded(capture_run, tmp_path / "x.pt")
    beside = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert beside["captured_layers"] == [0, 2] and list(beside["statistics"]) == ["0", "2"]
    real = found["attention_mask"].bool()
    special = pd.read_parquet(capture_run / "tokens")["is_special"].to_numpy()
    for layer in (0, 2):
        values = found["activations"][layer][real].double().numpy()
        stats = beside["statistics"][str(layer)]
        for figures, chosen in ((stats, values), (stats["without_special_tokens"], values[~special])):
            assert figures["n_positions"] == len(chosen)
            assert figures["mean"] == pytest.approx(chosen.mean(), rel=1e-9)
            assert figures["std"] == pytest.approx(chosen.std(), rel=1e-9)
            assert figures["norm"] == pytest.approx(np.linalg.norm(chosen, axis=1).mean(), rel=1e-9)


@pytest.mark.slow
def test_it_is_refused_before_it_is_built_where_padding_makes_it_too_large(capture_run: Path, tmp_path: Path) -> None:
    found = loaded(capture_run, tmp_path / "fits.pt", max_mb=1)
    assert sum(activation.nbytes for activation in found["activations"].values()) < 1e6
    # One long text makes rows for all: 1.2 MB of padding for 60 short ones.
    prompts = ("one two three " * 20, *("Four",) * 60)
    run = actkit.run_capture(actkit.CaptureSpec(prompts), dense(tmp_path / "run", layers="0")).path
    with pytest.raises(RunError, match=r"\d rows for each of 61 sequences, it would be \d+ MB, more than max_mb 1"):
        export(run, "pt", tmp_path / "x.pt", max_mb=1)
    assert not list(tmp_path.glob("*x.*"))


def test_the_file_is_a_sound_archive_that_can_be_mapped(capture_run: Path, tmp_path: Path) -> None:
    path = export(capture_run, "pt", tmp_path / "x.pt")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    mapped, read = (torch.load(path, weights_only=True, mmap=mmap) for mmap in (True, False))
    assert torch.equal(mapped["activations"][2], read["activations"][2])
    assert mapped["activations"][2].data_ptr() % 64 == 0


def test_out_must_not_have_the_name_of_the_statistics(capture_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="second file"):
        export(capture_run, "pt", tmp_path / "x.json")
    (tmp_path / "y.json").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"y\.json exists"):
        export(capture_run, "pt", tmp_path / "y.pt")
    assert (tmp_path / "y.json").read_text(encoding="utf-8") == "mine"
