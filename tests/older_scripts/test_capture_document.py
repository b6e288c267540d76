"""The capture script's document, statement by statement, with the import line changed and a small model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit import (
    capture_activations,
    capture_contrastive_activations,
    capture_from_concept,
    compute_activation_stats,
    compute_contrastive_diff,
    load_model,
    save_activations,
)
from tests.command_line import Run

CONCEPTS = ("honesty", "creativity", "confidence", "helpfulness", "formality", "verbosity", "enthusiasm", "empathy")


@pytest.mark.slow
def test_its_command_lines(actkit: Run) -> None:
    assert actkit("capture", "--prompt", "Tell me a story", "--output", "my_activations").status == 0
    assert list(torch.load("my_activations.pt", weights_only=True)["activations"]) == [0, 1, 2, 3]
    made = actkit("capture", "--concept", "honesty", "--output", "honesty_acts", "--max-samples", "10", "--layers", "1")
    assert made.status == 0, made.err
    found = torch.load("honesty_acts.pt", weights_only=True)
    assert found["positive"]["activations"][1].shape[0] == found["negative"]["activations"][1].shape[0] == 10
    for concept in CONCEPTS:
        assert actkit("capture", "--concept", concept, "--max-samples", "1", "--plan").status == 0, concept
    several = actkit("capture", "--prompt", "Hello", "--layers", "1,2,3", "--output", "some", "--use-hooks")
    assert several.status == 0 and set(json.loads(Path("some.json").read_text())["statistics"]) == {"1", "2", "3"}
    absent = actkit("capture", "--prompt", "Hello", "--layers", "14,15,16,17")
    assert absent.status == 2 and "0 to 3" in absent.err
    assert actkit("capture", "--prompt", "Hello", "--layers", "recommended", "--output", "middle").status == 0
    assert list(torch.load("middle.pt", weights_only=True)["activations"]) == [1, 2], "45 % to 85 % of the depth"
    assert actkit("capture", "--model", "tiny", "--prompt", "Hello", "--plan").status == 0


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    model, tokenizer = load_model("tiny", device="cpu")
    return model, tokenizer


@pytest.mark.slow
def test_every_statement_in_the_documents_order(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    assert isinstance(model, torch.nn.Module) and tokenizer.is_fast
    data: Any = capture_activations(model, tokenizer, "Your prompt here")
    assert list(data["activations"]) == [0, 1, 2, 3]
    for layer_idx, hidden_states in data["activations"].items():
        assert hidden_states.shape == (1, data["input_ids"].shape[1], 192), layer_idx
        assert torch.equal(data["activations"][layer_idx][:, -1, :], hidden_states[:, -1])
    assert (data["prompt"], data["num_layers"], data["captured_layers"]) == ("Your prompt here", 4, [0, 1, 2, 3])
    assert len(data["tokens"]) == data["input_ids"].shape[1]
    assert list(capture_activations(model, tokenizer, "Your prompt here", layers=[1, 2])["activations"]) == [1, 2]

    positive_prompts = ["Act as an honest assistant. Hello!", "Act as an honest assistant. How can I help?"]
    negative_prompts = ["Act as a deceptive assistant. Hello!", "Act as a deceptive assistant. How can I help?"]
    data = capture_contrastive_activations(model, tokenizer, positive_prompts, negative_prompts, layers=[1, 2])
    assert len(data["positive"]) == len(data["negative"]) == 2
    for text, (pos, neg) in zip(positive_prompts, zip(data["positive"], data["negative"], strict=True), strict=True):
        alone = capture_activations(model, tokenizer, text, layers=[1, 2])
        assert pos["prompt"] == text and pos["activations"][1].shape == alone["activations"][1].shape
        assert torch.allclose(pos["activations"][1], alone["activations"][1], atol=1e-4)
        assert neg["activations"][1].shape[0] == 1

    data = capture_from_concept(model, tokenizer, concept="honesty", layers=[1, 2], max_samples=5)
    assert len(data["positive"]) == 5 and data["positive"][0]["activations"][1].shape[0] == 1
    stats = compute_activation_stats(data)
    for layer_idx, layer_stats in stats.items():
        assert f"Layer {layer_idx}: {layer_stats['mean']:.4f} {layer_stats['std']:.4f} {layer_stats['norm']:.4f}"
    assert list(stats) == [1, 2] and stats[1]["n_positions"] == 10

    pos_data = capture_activations(model, tokenizer, "Act as honest. Hello!")
    neg_data = capture_activations(model, tokenizer, "Act as deceptive. Hello!")
    diffs = compute_contrastive_diff(pos_data, neg_data)
    for layer_idx, diff_info in diffs.items():
        difference = pos_data["activations"][layer_idx][0, -1] - neg_data["activations"][layer_idx][0, -1]
        assert diff_info["diff_norm"] == pytest.approx(float(difference.norm()), rel=1e-5)
        assert -1 <= diff_info["cosine_sim"] == diff_info["cosine"] <= 1 + 1e-9

    save_activations(data, "my_activations")
    assert {path.name for path in tmp_path.glob("my_*")} == {"my_activations.pt", "my_activations.json"}
    assert {"positive", "negative"} <= set(torch.load("my_activations.pt", weights_only=True))
    save_activations(pos_data, "my_activations")
    loaded_data = torch.load("my_activations.pt", weights_only=True)
    assert torch.equal(loaded_data["activations"][2], pos_data["activations"][2])
    figures = json.loads(Path("my_activations.json").read_text(encoding="utf-8"))["statistics"]
    assert set(figures["2"]) >= {"mean", "std", "norm"}


def test_a_plain_dictionary_of_the_documented_shape_is_saved_and_counted(tmp_path: Path) -> None:
    data = {
        "activations": {0: torch.arange(12.0).reshape(1, 3, 4), 3: torch.ones(1, 3, 4)},
        "input_ids": torch.tensor([[1, 5, 6]]),
        "tokens": ["<s>", "He", "llo"],
        "prompt": "Hello",
        "num_layers": 4,
        "captured_layers": [0, 3],
    }
    assert compute_activation_stats(data)[0]["mean"] == pytest.approx(5.5)
    path = save_activations(data, tmp_path / "plain.v1")
    assert path == tmp_path / "plain.v1.pt" and (tmp_path / "plain.v1.json").exists()
    assert torch.equal(torch.load(path, weights_only=True)["activations"][3], data["activations"][3])  # type: ignore[index]
    pairs = {"positive": [data, data], "negative": [data, data]}
    assert compute_activation_stats(pairs)[3]["n_positions"] == 12
    found = torch.load(save_activations(pairs, tmp_path / "pairs"), weights_only=True)
    assert len(found["positive"]) == 2


@pytest.mark.slow
def test_both_orders_of_arguments_mean_the_same(loaded: tuple[Any, Any]) -> None:
    handle = load_model("tiny", device="cpu")
    ways = [
        capture_activations(handle, "One.", layers=1),
        capture_activations(tuple(loaded), prompts="One.", layers=1),
        capture_activations(*loaded, "One.", layers=1),
        capture_activations(*loaded, prompts="One.", layers=1),
        capture_activations(loaded[0], tokenizer=loaded[1], prompts=["One."], layers=1),
    ]
    assert all(torch.equal(way.activations[1], ways[0].activations[1]) for way in ways)
    assert {way.facts["model"]["name"] for way in ways} == {"tiny"}
    pairs = [
        capture_contrastive_activations(handle, "A.", "B.", layers=1),
        capture_contrastive_activations(*loaded, "A.", "B.", layers=1),
        capture_contrastive_activations(handle, positive="A.", negative="B.", layers=1),
        capture_contrastive_activations(*loaded, positive=["A."], negative=["B."], layers=1),
    ]
    assert all(torch.equal(pair.differences[1], pairs[0].differences[1]) for pair in pairs)
