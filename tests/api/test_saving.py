"""`save_activations`: torch reads back what was captured, and the figures stand beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit.errors import RunError, UsageError
from tests.api.conftest import PROMPTS


@pytest.fixture(scope="module")
def found(tiny: actkit.ModelSpec) -> actkit.CapturedActivations:
    return actkit.capture_activations(tiny, PROMPTS, layers=[1, 3])


def same(read: dict[str, Any], side: actkit.CapturedActivations) -> None:
    assert list(read) == list(side)
    for name in ("positions", "input_ids", "attention_mask", "special_tokens_mask"):
        assert torch.equal(read[name], side[name])
    assert all(torch.equal(read["activations"][layer], side.activations[layer]) for layer in side.activations)
    for name in ("tokens", "prompt", "num_layers", "captured_layers"):
        assert read[name] == side[name]


def test_torch_reads_back_what_was_captured(found: actkit.CapturedActivations) -> None:
    path = actkit.save_activations(found, "new/folder/days.pt")
    assert path == Path("new/folder/days.pt") and sorted(entry.name for entry in path.parent.iterdir()) == [
        "days.json",
        "days.pt",
    ]
    read = torch.load(path, weights_only=True)
    same(read, found)
    # What was read back serves where what was captured does.
    assert actkit.compute_activation_stats(read) == actkit.compute_activation_stats(found)
    same(torch.load(actkit.save_activations(read, "again.pt"), weights_only=True), found)


def test_the_figures_stand_beside_it(found: actkit.CapturedActivations) -> None:
    path = actkit.save_activations(found, "days.pt")
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (beside["model"], beside["num_layers"], beside["captured_layers"]) == ("tiny", 4, [1, 3])
    for special, own in ((True, lambda captured: captured), (False, lambda row: row["without_special_tokens"])):
        for layer, figures in actkit.compute_activation_stats(found, special_tokens=special).items():
            written = own(beside["statistics"][str(layer)])
            assert {name: written[name] for name in figures} == figures


def test_both_sides_of_pairs_are_in_one_file(tiny: actkit.ModelSpec) -> None:
    pair = actkit.capture_contrastive_activations(tiny, "I love this old song.", "I hate it.", layers=2)
    path = actkit.save_activations(pair, "pair.pt")
    read = torch.load(path, weights_only=True)
    assert list(read) == ["positive", "negative", "differences"]
    same(read["positive"], pair.positive)
    same(read["negative"], pair.negative)
    assert torch.equal(read["differences"][2], pair.differences[2])
    figures = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert figures["negative"]["statistics"]["2"]["n_positions"] == pair.negative.positions.numel()
    # A side saved alone is not the whole batch's storage.
    small = actkit.save_activations(pair.negative, "small.pt").stat().st_size
    assert small < pair.negative.activations[2].nbytes + 20_000
    sides = {"positive": pair.positive, "negative": [pair.negative]}
    read = torch.load(actkit.save_activations(sides, "sides"), weights_only=True)
    same(read["positive"][0], pair.positive)


def test_files_that_are_there_are_replaced(found: actkit.CapturedActivations, tiny: actkit.ModelSpec) -> None:
    actkit.save_activations(found, "x.pt")
    other = actkit.capture_activations(tiny, "Other.", layers=0)
    same(torch.load(actkit.save_activations(other, "x.pt"), weights_only=True), other)
    assert json.loads(Path("x.json").read_text(encoding="utf-8"))["captured_layers"] == [0]
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == ["x.json", "x.pt"]


def test_errors_say_what_to_do(found: actkit.CapturedActivations) -> None:
    Path("file").write_text("mine", encoding="utf-8")
    calls = [
        (found, "x.json", UsageError, "does not end in .pt"),
        ({"layers": [1]}, "x.pt", UsageError, "no captured activations"),
        ({"positive": [3], "negative": [3]}, "x.pt", UsageError, "no captured activations"),
        (found, "file/x.pt", RunError, "file"),
    ]
    for what, path, error, says in calls:
        with pytest.raises(error, match=says) as caught:
            actkit.save_activations(what, path)  # type: ignore[arg-type]
        assert caught.value.hint
    assert not list(Path().glob("x.*")) and Path("file").read_text(encoding="utf-8") == "mine"
