"""The document of the SAE extraction script, statement by statement, with a small model."""

import json
from pathlib import Path
from typing import Any

import pytest

import actkit as package
from actkit import ExtractionConfig, SAEActivationExtractor, load_samples_from_json, save_results_to_json
from tests.command_line import Run

SAE_ID = "blocks.2.hook_resid_post"
DOCUMENT = {
    "results": [
        {
            "question_id": 123,
            "variations": [
                {"template_type": "base", "prompt": "What is red?", "response": " A rose."},
                {"template_type": "doubt", "prompt": "Is it red?", "response": " I doubt it."},
            ],
        },
        {"question_id": 7, "variations": [{"template_type": "base", "prompt": "Who ran?", "response": " The hare."}]},
    ]
}


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same features, with the same activations but for rounding: another batch rounds otherwise."""
    assert found["num_active_features"] == expected["num_active_features"]
    for feature, other in zip(found["top_k_features"], expected["top_k_features"], strict=True):
        assert feature["id"] == other["id"] and feature["activation"] == pytest.approx(other["activation"], rel=1e-4)


@pytest.mark.slow
def test_its_command_lines(actkit: Run) -> None:
    """Every option of the document, in its order: what it requires, the model, the extraction."""
    Path("data.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    meant = actkit(
        "sae-extract", "--input", "data.json", "--target-layer", "20", "--sae-id", "layer_20/width_16k/canonical"
    )
    assert meant.status == 2 and "--preset gemma-2-9b-it" in meant.err and "--model" in meant.err
    model = ("--model", "tiny", "--sae-release", "tiny", "--sae-id", SAE_ID, "--hook-name", SAE_ID)
    made = actkit(
        "sae-extract", "--input", "data.json", *model, "--target-layer", "2", "--top-k", "3", "--output", "x.json"
    )
    assert made.status == 0, made.err
    written = json.loads(Path("x.json").read_text(encoding="utf-8"))
    assert written["sae_extraction_metadata"]["layer_2"]["top_k_features"] == 3
    found = written["results"][0]["variations"][0]["sae_activations"]["layer_2"]
    assert set(found) == {"activations", "answer_start_position", "total_tokens", "status"}
    assert len(found["activations"]["last_token"]["top_k_features"]) == 3
    assert found["activations"]["last_token"]["num_active_features"] >= 3
    options = ("--save-all-tokens", "--max-samples", "1", "--verbose", "--output", "all.json")
    whole = actkit("sae-extract", "--input", "data.json", "--target-layer", "2", *options)
    assert whole.status == 0, whole.err
    results = json.loads(Path("all.json").read_text(encoding="utf-8"))["results"]
    every = results[0]["variations"][0]["sae_activations"]["layer_2"]
    assert list(every["activations"]) == [f"token_{at}" for at in range(every["total_tokens"])]
    assert "sae_activations" not in results[1]["variations"][0], "--max-samples 1"
    missing = actkit("sae-extract", "--input", "nowhere/data.json", "--target-layer", "2")
    assert missing.status == 1 and "nowhere/data.json" in missing.err and "Traceback" not in missing.err
    other = actkit("sae-extract", "--input", "data.json", "--target-layer", "3", "--sae-id", SAE_ID)
    assert other.status != 0 and "layer" in other.err, "an SAE of another layer than the one that is asked for"


def test_the_extraction_document() -> None:
    Path("input.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    config = ExtractionConfig(
        model_name="tiny",
        sae_release="tiny",
        sae_id=SAE_ID,
        target_layer=2,
        hook_name="blocks.2.hook_resid_post",
        top_k_features=5,
    )
    assert config.top_k == 5 and ExtractionConfig(top_k=7).top_k_features == 7
    extractor = SAEActivationExtractor(config)
    extractor.load_model_and_sae()
    result = extractor.extract_activations(prompt="What is red?", response=" A rose.", save_all_tokens=False)
    assert set(result) == {"activations", "answer_start_position", "total_tokens", "status"}
    assert result["status"] == "success" and 0 < result["answer_start_position"] < result["total_tokens"]
    last = result["activations"]["last_token"]
    assert [set(feature) for feature in last["top_k_features"]] == [{"id", "activation"}] * 5
    assert last["num_active_features"] >= 5
    whole = extractor.extract_activations(prompt="What is red?", response=" A rose.", save_all_tokens=True)
    assert list(whole["activations"]) == [f"token_{at}" for at in range(whole["total_tokens"])]
    same(whole["activations"][f"token_{result['answer_start_position'] - 1}"], last)

    samples = load_samples_from_json("input.json")
    assert len(samples) == 3 and samples[0]["question_id"] == 123 and samples[2]["prompt"] == "Who ran?"
    assert [sample["template_type"] for sample in samples] == ["base", "doubt", "base"]
    assert samples["results"] == DOCUMENT["results"]
    results = extractor.extract_batch(samples, save_all_tokens=False)
    assert len(results) == 3
    same(results[0]["activations"]["last_token"], last)
    save_results_to_json(
        original_json_path="input.json", extraction_results=results, output_json_path="output.json", config=config
    )
    written = json.loads(Path("output.json").read_text(encoding="utf-8"))
    about = written["sae_extraction_metadata"]["layer_2"]
    assert {name: about[name] for name in ("sae_id", "sae_release", "hook_name", "top_k_features")} == {
        "sae_id": SAE_ID,
        "sae_release": "tiny",
        "hook_name": "blocks.2.hook_resid_post",
        "top_k_features": 5,
    }
    places = [place for found in written["results"] for place in found["variations"]]
    assert [place["sae_activations"]["layer_2"] for place in places] == results
    assert [place["response"] for place in places] == [" A rose.", " I doubt it.", " The hare."]
    extractor.cleanup()
    assert extractor.extract_activations("What is red?", " A rose.")["activations"].keys() == {"last_token"}


def test_results_of_another_document_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{"prompt": "One.", "response": " Two."}]), encoding="utf-8")
    config = ExtractionConfig("tiny", "tiny", target_layer=2)
    results = SAEActivationExtractor(config).extract_batch([{"prompt": "One."}, {"prompt": "Two."}])
    with pytest.raises(package.ActkitError, match="2 results for the 1 samples"):
        save_results_to_json(original_json_path=path, extraction_results=results, output_json_path=tmp_path / "x.json")
    with pytest.raises(package.ActkitError, match="not of layer 3"):
        save_results_to_json(
            original_json_path=path,
            extraction_results=results[:1],
            output_json_path=tmp_path / "x.json",
            config=ExtractionConfig("tiny", "tiny", target_layer=3),
        )
    assert not (tmp_path / "x.json").exists()
