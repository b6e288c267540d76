"""`saedashboard`: the fields that SAEDashboard's and Neuronpedia's readers need, with the numbers of the tables."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actkit.export.formats import export

BATCH = {"model_id": str, "layer": int, "sae_set": str, "sae_id_suffix": str, "features": list}
FEATURE = {
    **dict.fromkeys(("feature_index", "n_prompts_total", "n_tokens_in_prompt"), int),
    **dict.fromkeys(("neuron_alignment_indices", "correlated_neurons_indices", "correlated_features_indices"), list),
    **dict.fromkeys(("neuron_alignment_values", "neuron_alignment_l1", "correlated_neurons_l1"), list),
    **dict.fromkeys(("correlated_neurons_pearson", "correlated_features_l1", "correlated_features_pearson"), list),
    **dict.fromkeys(("neg_str", "neg_values", "pos_str", "pos_values", "activations", "vector"), list),
    **dict.fromkeys(("freq_hist_data_bar_values", "freq_hist_data_bar_heights", "decoder_weights_dist"), list),
    **dict.fromkeys(("logits_hist_data_bar_heights", "logits_hist_data_bar_values"), list),
    "frac_nonzero": float,
    "dataset": str,
}
ACTIVATION = {"bin_min", "bin_max", "bin_contains", "tokens", "values", "qualifying_token_index"}
"""What `NeuronpediaDashboardBatch.to_dict` writes, field by field: readers take them by name, and no other."""


@pytest.mark.slow
def test_the_batch_has_the_readers_fields_and_the_tables_numbers(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = six_runs["feature-dataset"]
    batch = json.loads(export(run, "saedashboard", tmp_path / "batch-0.json").read_text(encoding="utf-8"))
    assert {name: type(value) for name, value in batch.items()} == BATCH
    stats = pd.read_parquet(run / "feature_stats").set_index("feature_id")
    positions = pd.read_parquet(run / "feature_positions")
    tokens = pd.read_parquet(run / "tokens").set_index(["sequence_id", "position"])
    ordinary = ~tokens["is_special"]
    listed = [feature["feature_index"] for feature in batch["features"]]
    assert listed == sorted(set(positions["feature_id"]))
    for feature in batch["features"][::23]:
        assert {name: type(value) for name, value in feature.items()} == FEATURE
        row = stats.loc[feature["feature_index"]]
        assert feature["frac_nonzero"] == pytest.approx(row["density"])
        assert sum(feature["freq_hist_data_bar_heights"]) == row["n_active"]
        assert (
            len(feature["pos_str"]) == len(feature["neg_values"]) == 10
            and feature["pos_values"] == sorted(feature["pos_values"])[::-1]
        )
        assert len(feature["activations"]) == len(row["contexts"])
        own = positions[positions["feature_id"] == feature["feature_index"]].set_index(["sequence_id", "position"])[
            "activation"
        ]
        for found, context in zip(feature["activations"], row["contexts"], strict=True):
            assert set(found) == ACTIVATION and len(found["tokens"]) == len(found["values"])
            at = found["qualifying_token_index"]
            assert found["tokens"][at] == context["token"] and found["values"][at] == pytest.approx(
                context["activation"], abs=6e-4
            )
            begin = context["position"] - at
            for step, value in enumerate(found["values"]):
                assert value == pytest.approx(own.get((context["sequence_id"], begin + step), 0.0), abs=6e-4)
    assert ordinary.sum() > 0 and np.isfinite(batch["features"][0]["pos_values"]).all()
