"""The lines by which notebooks read the files of the older scripts read those that actkit exports."""

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
import yaml

import actkit
from actkit.export.formats import export

PAIRS = [
    {"prompt": "How deep is the sea?", "chosen": " About 3,700 metres.", "rejected": " Nobody knows, really."},
    {"prompt": "What is red?", "chosen": " A rose is 🌹.", "rejected": " A rose? No."},
]
TEXTS = ("Once upon a time there was a hare.", "The river runs to the sea 🌊.")


def lines(path: str, records: list[Any]) -> str:
    Path(path).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_hdf5_is_looped_over_by_its_metadata(tiny: actkit.ModelSpec) -> None:
    spec = actkit.DpoSpec(lines("pairs.jsonl", PAIRS), chat=False)
    dense = actkit.DenseSpec(tiny, actkit.OutputSpec(Path("run")), "0,2")
    p = export(actkit.run_dpo(spec, dense).path, "h5", Path("pairs.h5"))
    seen = []
    with h5py.File(p) as f:
        for name in f["metadata"]:
            metadata = f[f"metadata/{name}"].attrs
            for side in ("chosen", "rejected"):
                activations = f[f"activations/{name}_{side}/blocks.0.hook_resid_post"][:]
                assert activations.shape == (metadata[f"{side}_length"], 192)
                assert 0 < metadata[f"{side}_divergence_idx"] < metadata[f"{side}_length"]
            at = metadata["chosen_divergence_idx"]
            both = [f[f"activations/{name}_{side}/blocks.2.hook_resid_post"][:] for side in ("chosen", "rejected")]
            assert abs(both[0][:at] - both[1][:at]).max() == 0 < abs(both[0][at] - both[1][at]).max()
            seen.append(name)
        assert f["metadata/sample_0"].attrs["chosen_divergence_idx"] > 0
    assert seen == ["sample_0", "sample_1"]


def test_pt_is_loaded_with_its_figures(tiny: actkit.ModelSpec) -> None:
    dense = actkit.DenseSpec(tiny, actkit.OutputSpec(Path("run")), "1,3")
    p = export(actkit.run_capture(actkit.CaptureSpec(TEXTS), dense).path, "pt", Path("x.pt"))
    d = torch.load(p, weights_only=True)
    batch, seq = d["input_ids"].shape
    figures = json.loads(Path("x.json").read_text(encoding="utf-8"))["statistics"]
    for layer in d["captured_layers"]:
        assert d["activations"][layer].shape == (batch, seq, 192)
        real = d["activations"][layer][d["attention_mask"].bool()].double()
        own = figures[str(layer)]
        assert abs(own["mean"] - float(real.mean())) < 1e-6 * own["std"]
        assert abs(own["std"] / float(real.std(correction=0)) - 1) < 1e-6
        assert abs(own["norm"] / float(real.norm(dim=1).mean()) - 1) < 1e-6
    assert (d["num_layers"], d["captured_layers"]) == (4, [1, 3])
    assert [text.split()[0] for text in d["prompt"]] == ["Once", "The"]
    assert [len(token) for token in d["tokens"]] == d["attention_mask"].sum(1).tolist()


def test_the_merged_document_is_walked_by_result_and_variation(tiny: actkit.ModelSpec) -> None:
    variation = {"template_type": "plain", "prompt": "What is red?", "response": " A rose."}
    document = {"results": [{"question_id": 3, "variations": [variation]}]}
    config = actkit.ExtractionConfig("tiny", "tiny", target_layer=2, top_k=4)
    path = actkit.save_results_to_json(actkit.SAEActivationExtractor(config, tiny).extract(document), "out.json")
    seen = 0
    for result in json.loads(path.read_text(encoding="utf-8"))["results"]:
        for row in result["variations"]:
            found = row["sae_activations"]["layer_2"]
            assert found["status"] == "success" and 0 < found["answer_start_position"] < found["total_tokens"]
            top = found["activations"]["last_token"]["top_k_features"]
            assert [set(feature) for feature in top] == [{"id", "activation"}] * 4
            assert found["activations"]["last_token"]["num_active_features"] >= 4
            assert {name: row[name] for name in variation} == variation
            seen += 1
    assert seen == 1


def test_jsonl_is_read_line_by_line(tiny: actkit.ModelSpec) -> None:
    run = actkit.create_feature_dataset(TEXTS, tiny, out="stories", top_k=6)
    p = export(run.path, "jsonl", Path("stories.jsonl"))
    texts = []
    with p.open(encoding="utf-8") as f:
        for line in f:
            d = json.loads(line)
            lengths = {len(d[name]) for name in ("tokens", "offsets", "active_features", "activations")}
            assert len(lengths) == 1
            for start, end, features, values in zip(
                d["offsets"], d["offset_ends"], d["active_features"], d["activations"], strict=True
            ):
                assert d["text"][start:end] and len(features) == len(values) <= 6
            assert any(d["active_features"])
            texts.append(d["text"])
    assert texts == list(TEXTS)


@pytest.mark.slow
def test_reward_features_have_the_configuration_as_yaml(tiny: actkit.ModelSpec) -> None:
    saes = [actkit.SaeSpec("tiny", "blocks.2.hook_resid_post")]
    sparse = actkit.SparseSpec(tiny, saes, actkit.OutputSpec(Path("run")))
    run = actkit.run_reward_detect(actkit.RewardDetectSpec(top_k=5), sparse)
    d = json.loads(export(run.path, "json", Path("found.json")).read_text(encoding="utf-8"))
    given = {name: value for name, value in d["configuration"].items() if value is not None}
    assert yaml.safe_load(Path("found.yaml").read_text(encoding="utf-8")) == {"command": "reward-detect", **given}
    assert given["listed"] == 5 and given["pool"] == "max"
    assert len(d["features"]) == 5
    assert d["reward_features"] == [feature for feature in d["features"] if feature["responds_to"] == "positive"]
    for feature in d["features"]:
        assert feature["correlation_score"] > 0 and feature["positive_activation"] > feature["negative_activation"]
        assert feature["activation_strength"] > 0 and feature["feature_index"] >= 0
