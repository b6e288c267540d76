"""The documents of the SAE scripts, statement by statement, with the import line changed and a small model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit import (
    ExtractionConfig,
    FeedbackDataLoader,
    RewardSignalDetector,
    SAEActivationExtractor,
    SAEFeatureExtractor,
    create_feature_dataset,
    load_samples_from_json,
    save_results_to_json,
)
from actkit.bundled import SAES

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
    for one, other in zip(found["top_k_features"], expected["top_k_features"], strict=True):
        assert one["id"] == other["id"] and one["activation"] == pytest.approx(other["activation"], rel=1e-4)


def test_the_extraction_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
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
    with pytest.raises(actkit.ActkitError, match="2 results for the 1 samples"):
        save_results_to_json(original_json_path=path, extraction_results=results, output_json_path=tmp_path / "x.json")
    with pytest.raises(actkit.ActkitError, match="not of layer 3"):
        save_results_to_json(
            original_json_path=path,
            extraction_results=results[:1],
            output_json_path=tmp_path / "x.json",
            config=ExtractionConfig("tiny", "tiny", target_layer=3),
        )
    assert not (tmp_path / "x.json").exists()


def in_memory() -> tuple[Any, Any, Any]:
    """A model and an SAE as transformers and SAELens have them in memory."""
    from sae_lens import SAE
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from actkit.bundled import TINY

    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(TINY), SAE.load_from_disk(SAES / SAE_ID, device="cpu")


def test_the_feature_dataset_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["This is an example document.", "The river runs to the sea."]
    Path("docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    model, tokenizer, sae = in_memory()
    create_feature_dataset(
        dataset_path="docs.jsonl",
        model=model,
        sae=sae,
        output_path="feature_activations.jsonl",
        max_examples=1000,
        activation_threshold=0.1,
        batch_size=1,
    )
    with open("feature_activations.jsonl", "r") as f:  # noqa: PTH123, UP015 - as the document has it
        dataset = [json.loads(line) for line in f]
    assert [example["text"] for example in dataset] == texts
    for example in dataset:
        expected = tokenizer(example["text"], return_offsets_mapping=True, add_special_tokens=False)
        assert example["tokens"] == expected["input_ids"]
        assert example["offsets"] == [start for start, _ in expected["offset_mapping"]]
        assert len(example["active_features"]) == len(example["activations"]) == len(example["tokens"])
        pairs = zip(example["active_features"], example["activations"], strict=True)
        for features, values in pairs:
            assert len(features) == len(values) and all(abs(value) > 0.1 for value in values)
    # The numbers are those of the model and SAE that were handed over.
    ids = torch.tensor([[tokenizer.bos_token_id, *dataset[1]["tokens"]]])
    with torch.inference_mode():
        hidden = model(ids, output_hidden_states=True).hidden_states[3][0]
        encoded = sae.encode(hidden)[1:]
    for row, features, values in zip(encoded, dataset[1]["active_features"], dataset[1]["activations"], strict=True):
        assert sorted(features) == torch.nonzero(row > 0.1)[:, 0].tolist()
        assert torch.allclose(row[features], torch.tensor(values), rtol=1e-3, atol=1e-3)
    again = create_feature_dataset(
        "docs.jsonl", model, sae=sae, output_path="feature_activations.jsonl", max_examples=1
    )
    assert again.facts["counts"]["written"] == 1, "the document's program can be run twice"


def test_models_of_transformer_lens_are_read_as_they_compute(tmp_path: Path) -> None:
    """A HookedTransformer has folded norms; a bridge is Hugging Face's model: each gives its own numbers."""
    from transformer_lens.model_bridge import TransformerBridge

    from actkit.bundled import TINY

    bridge = TransformerBridge.boot_transformers(str(TINY), device="cpu", dtype=torch.float32)
    texts = ["This is an example document.", "The river."]
    data = actkit.capture_activations(bridge, bridge.tokenizer, texts, layers=[1, 3])
    plain = actkit.capture_activations("tiny", texts, layers=[1, 3])
    for layer in (1, 3):
        assert torch.allclose(data.activations[layer], plain.activations[layer], atol=1e-3)
    _, cache = bridge.run_with_cache(data["input_ids"][:1])
    assert torch.allclose(cache["blocks.1.hook_resid_post"][0], data["activations"][1][0], atol=1e-4)
    *_, sae = in_memory()
    run = create_feature_dataset(texts, bridge, sae=sae, out=tmp_path / "run")
    assert run.facts["counts"]["written"] == 2 and run.features().shape[1] == sae.cfg.d_sae


@pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated")
def test_a_hooked_transformer_gives_its_own_numbers(tmp_path: Path) -> None:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformers import AutoTokenizer

    from actkit.bundled import TINY

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    torch.manual_seed(0)
    config = HookedTransformerConfig(
        n_layers=3,
        d_model=16,
        n_ctx=64,
        d_head=8,
        n_heads=2,
        d_mlp=32,
        act_fn="gelu",
        d_vocab=len(tokenizer),
        normalization_type="LN",
        device="cpu",
        model_name="toy",
    )
    model = HookedTransformer(config, tokenizer=tokenizer)
    texts = ["The river runs to the sea.", "A hare."]
    data = actkit.capture_activations(model, texts, layers=[0, 2])
    assert data.facts["model"]["name"] == "toy"
    for row, length in enumerate(data["attention_mask"].sum(1).tolist()):
        ids = data["input_ids"][row : row + 1, :length]
        _, cache = model.run_with_cache(ids)
        for layer in (0, 2):
            expected = cache[f"blocks.{layer}.hook_resid_post"][0]
            assert torch.allclose(expected, data["activations"][layer][row, :length], atol=1e-5)
    with pytest.raises(actkit.ActkitError, match=r"no hook point blocks.0.hook_resid_pots"):
        actkit.capture_activations(model, texts, hook_points=["blocks.0.hook_resid_pots"])


def test_the_feedback_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = [
        {"text": f"{word} {n}.", "feedback": label, "score": 1.0 if label == "positive" else 0.8}
        for n in range(24)
        for word, label in (("Great job, thank you so much", "positive"), ("This is incorrect and wrong", "negative"))
    ]
    Path("feedback.json").write_text(json.dumps(records), encoding="utf-8")
    extractor = SAEFeatureExtractor(model_name="tiny", layer=2, device="cpu")
    detector = RewardSignalDetector(sae_extractor=extractor, activation_threshold=0.5, correlation_threshold=0.6)
    data_loader = FeedbackDataLoader()
    with pytest.raises(actkit.ActkitError, match="the loader is empty"):
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
    from actkit.recipes.saes import canonical

    found = canonical("google/gemma-2-2b", 12)
    assert found is not None
    assert (found.release, found.sae_id) == ("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical")
    small = canonical("gpt2-small", 8)
    assert small is not None and (small.release, small.sae_id) == ("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    tuned, own = canonical("google/gemma-2-2b-it", 5), canonical("google/gemma-2-9b-it", 20)
    assert tuned is not None and tuned.release == "gemma-scope-2b-pt-res-canonical"
    assert own is not None and own.release == "gemma-scope-9b-it-res-canonical"
    assert canonical("google/gemma-2-2b", 99) is None and canonical("nobody/nothing", 1) is None
