"""Directions in the formats of steering-vectors and of persona vectors, and what a run of `steer` chose."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from actkit.errors import RunError, UsageError
from actkit.export.formats import export
from actkit.runs.facts import facts_of


def test_a_persona_vector_counts_layers_as_hidden_states_do(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    notes: list[str] = []
    run = six_runs["concept"]
    rows = torch.load(export(run, "persona", tmp_path / "x.pt", on_note=notes.append), weights_only=True)
    directions = pd.read_parquet(run / "directions")
    own = directions[directions["method"] == "mean-diff"].set_index("layer")
    n_layers = facts_of(run)["model"]["n_layers"]
    assert rows.shape == (n_layers + 1, len(own["direction"].iloc[0])) and not rows[0].any()
    for layer, row in own.iterrows():
        assert np.allclose(rows[int(layer) + 1], np.array(row["direction"]) * row["norm"], rtol=1e-5)
    assert notes == [f"{n_layers - len(own)} layers of the model are not in the run: their rows are zero"]


def test_steering_vectors_get_the_chosen_layer_or_equal_shares(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = six_runs["concept"]
    chosen = facts_of(run)["concept"]["chosen"].get("mean-diff")
    if chosen is None:
        with pytest.raises(UsageError, match="chose no layer"):
            export(run, "steering-vectors", tmp_path / "x.pt")
    else:
        found = torch.load(export(run, "steering-vectors", tmp_path / "x.pt"), weights_only=True)
        assert list(found["layer_activations"]) == [chosen["layer"]] and found["layer_type"] == "decoder_block"
    both = torch.load(export(run, "steering-vectors", tmp_path / "y.pt", layers="all"), weights_only=True)
    whole = torch.load(export(run, "persona", tmp_path / "z.pt"), weights_only=True)
    assert list(both["layer_activations"]) == [1, 2]
    for layer, vector in both["layer_activations"].items():
        assert torch.allclose(2 * vector, whole[layer + 1])
    with pytest.raises(UsageError, match="no direction of hook_resid_post at layer 3"):
        export(run, "steering-vectors", tmp_path / "w.pt", layers="3")


def test_of_a_run_of_steer_scale_one_is_the_chosen_strength(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    import gguf

    run = six_runs["steer"]
    chosen = facts_of(run)["steer"]["chosen"]
    if chosen is None:
        with pytest.raises(RunError, match="chose no layer"):
            export(run, "gguf", tmp_path / "x.gguf")
        return
    rows = pd.read_parquet(run / "interventions")
    row = rows[rows["intervention_id"] == chosen["intervention_id"]].iloc[0]
    expected = np.array(row["vector"]) * row["unit_norm"] * chosen["strength"]
    found = torch.load(export(run, "steering-vectors", tmp_path / "x.pt"), weights_only=True)
    assert np.allclose(found["layer_activations"][chosen["layer"]], expected, rtol=1e-5)
    reader = gguf.GGUFReader(export(run, "gguf", tmp_path / "x.gguf"))
    (tensor,) = reader.tensors
    assert tensor.name == f"direction.{chosen['layer']}" and np.allclose(tensor.data, expected, rtol=1e-5)
    assert reader.fields["actkit.strength"].contents() == pytest.approx(chosen["strength"])
    with pytest.raises(UsageError, match="not pca"):
        export(run, "gguf", tmp_path / "y.gguf", method="pca")
