"""The document of the reward signal project, statement by statement, with a small model."""

import json
from pathlib import Path

import pytest
import yaml

import actkit as package
from actkit import FeedbackDataLoader, RewardSignalDetector, SAEFeatureExtractor
from tests.command_line import Run

SCRIPT = """
model:
  model_name: tiny
  layer: 2
  device: cpu
detector:
  activation_threshold: 0.5
  correlation_threshold: 0.6
"""


@pytest.mark.slow
def test_its_command_lines(actkit: Run) -> None:
    """Its quick start, in its order: example data, data of one's own, a configuration; then what it writes."""
    record = {"text": "Great job!", "feedback": "positive", "score": 1.0}
    other = {"text": "This is incorrect.", "feedback": "negative", "score": 0.8}
    Path("feedback.json").write_text(json.dumps([record, other]), encoding="utf-8")
    own = actkit("reward-detect", "--data", "feedback.json", "--model", "tiny", "--layer", "2", "--top-k", "3")
    assert own.status == 0 and "1 positive, 1 negative" in own.err, own.err
    assert "note: --top-k is called --listed here" in own.err
    Path("config.yaml").write_text(SCRIPT, encoding="utf-8")
    options = ("--config", "config.yaml", "--output-dir", "results")
    made = actkit("reward-detect", "--use-example-data", "--device", "cpu", *options)
    assert (made.status, made.out) == (0, "results\n"), made.err
    asked = yaml.safe_load(Path("results/config.yaml").read_text(encoding="utf-8"))
    names = ("model", "target_layer", "device", "strength_threshold", "correlation_threshold")
    assert [asked[name] for name in names] == ["tiny", 2, "cpu", 0.5, 0.6]
    found = json.loads(Path("results/reward_features.json").read_text(encoding="utf-8"))
    assert found["features"] and set(found) >= {"reward_features", "features", "configuration"}
    figures = {"feature_idx", "correlation_score", "activation_strength", "positive_activation", "negative_activation"}
    assert all(set(feature) >= figures for feature in found["features"])


def test_the_feedback_document() -> None:
    records = [
        {"text": f"{word} {n}.", "feedback": label, "score": 1.0 if label == "positive" else 0.8}
        for n in range(24)
        for word, label in (("Great job, thank you so much", "positive"), ("This is incorrect and wrong", "negative"))
    ]
    Path("feedback.json").write_text(json.dumps(records), encoding="utf-8")
    extractor = SAEFeatureExtractor(model_name="tiny", layer=2, device="cpu")
    detector = RewardSignalDetector(sae_extractor=extractor, activation_threshold=0.5, correlation_threshold=0.6)
    data_loader = FeedbackDataLoader()
    with pytest.raises(package.ActkitError, match="the loader is empty"):
        detector.detect(data_loader)
    data_loader.load_from_json("feedback.json")
    assert len(data_loader) == 48
    batch = data_loader.get_batch()
    assert len(batch) == 48 and batch[0]["text"].startswith("Great") and len(data_loader.get_batch(5)) == 5
    results = detector.analyze_batch(batch)
    assert results["reward_features"], "words that separate the texts wholly"
    for feature in results["reward_features"]:
        assert f"Feature {feature['feature_idx']}: {feature['correlation_score']:.3f}"
        assert feature["activation_strength"] >= 0.5 and feature["correlation_score"] >= 0.6
        assert feature["positive_activation"] > feature["negative_activation"]
        assert feature["feature_index"] == feature["feature_idx"]


def test_a_layer_alone_finds_the_recommended_sae_of_the_model() -> None:
    from actkit.recipes.sae_choice import canonical

    found = canonical("google/gemma-2-2b", 12)
    assert found is not None
    assert (found.release, found.sae_id) == ("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical")
    small = canonical("gpt2-small", 8)
    assert small is not None and (small.release, small.sae_id) == ("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    tuned, own = canonical("google/gemma-2-2b-it", 5), canonical("google/gemma-2-9b-it", 20)
    assert tuned is not None and tuned.release == "gemma-scope-2b-pt-res-canonical"
    assert own is not None and own.release == "gemma-scope-9b-it-res-canonical"
    assert canonical("google/gemma-2-2b", 99) is None and canonical("nobody/nothing", 1) is None
