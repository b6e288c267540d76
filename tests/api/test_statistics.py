"""Figures of activations in memory are those that a run's tables have."""

from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit.errors import UsageError
from tests.api.conftest import PROMPTS

FIGURES = {"n_positions": "n_positions", "mean": "mean", "std": "std", "norm": "mean_norm", "min": "min", "max": "max"}


@pytest.fixture(scope="module")
def found(tiny: actkit.ModelSpec) -> actkit.CapturedActivations:
    return actkit.capture_activations(tiny, PROMPTS)


def test_figures_are_those_of_the_table_layer_stats(
    tiny: actkit.ModelSpec, found: actkit.CapturedActivations, tmp_path: Path
) -> None:
    output = actkit.OutputSpec(tmp_path / "run")
    run = actkit.open_run(actkit.run_capture(actkit.CaptureSpec(PROMPTS), actkit.DenseSpec(tiny, output)).path)
    table = run.to_pandas("layer_stats").set_index(["special_tokens", "layer"])
    for special in (False, True):
        figures = actkit.compute_activation_stats(found, special_tokens=special)
        assert list(figures) == [0, 1, 2, 3]
        for layer, own in figures.items():
            row = table.loc[(special, layer)]
            for name, column in FIGURES.items():
                assert own[name] == pytest.approx(row[column], rel=1e-9, abs=1e-9), (layer, special, name)


def test_padding_never_counts_and_special_tokens_do_when_asked(found: actkit.CapturedActivations) -> None:
    real, special = int(found.attention_mask.sum()), int(found.special_tokens_mask.sum())
    assert special == len(PROMPTS) and real < found.attention_mask.numel()
    assert actkit.compute_activation_stats(found)[1]["n_positions"] == real - special
    assert actkit.compute_activation_stats(found, special_tokens=True)[1]["n_positions"] == real


def test_where_only_special_tokens_were_read_they_count_unless_they_are_not_wanted(tiny: actkit.ModelSpec) -> None:
    bos = actkit.capture_activations(tiny, PROMPTS, layers=1, positions=0)
    none = dict.fromkeys(("mean", "std", "norm", "min", "max"))
    assert actkit.compute_activation_stats(bos, special_tokens=False) == {1: {"n_positions": 0, **none}}
    assert actkit.compute_activation_stats(bos) == actkit.compute_activation_stats(bos, special_tokens=True)
    assert actkit.compute_activation_stats(bos, special_tokens=True)[1]["n_positions"] == len(PROMPTS)


def made(vectors: list[list[list[float]]], special: list[list[int]]) -> dict[str, Any]:
    """A batch as a `.pt` file holds it, without padding, of one layer."""
    tensor = torch.tensor(vectors)
    positions = torch.arange(tensor.shape[1]).expand(tensor.shape[:2])
    return {"activations": {0: tensor}, "positions": positions, "special_tokens_mask": torch.tensor(special)}


def test_differences_are_what_a_hand_computes() -> None:
    """Two pairs; the first position is special. Last: (3, 4) - (0, 4) and (0, 2) - (0, -2)."""
    positive = made([[[9, 9], [1, 0], [3, 4]], [[9, 9], [0, 0], [0, 2]]], [[1, 0, 0]] * 2)
    negative = made([[[7, 7], [1, 0], [0, 4]], [[7, 7], [0, 0], [0, -2]]], [[1, 0, 0]] * 2)
    last = actkit.compute_contrastive_diff(positive, negative)[0]
    assert last["n_pairs"] == 2 and last["diff_norm"] == pytest.approx(3.5)
    assert last["cosine"] == pytest.approx((0.8 - 1) / 2)
    assert last["mean_diff"].tolist() == [1.5, 2.0] and last["mean_diff_norm"] == pytest.approx(2.5)
    mean = actkit.compute_contrastive_diff(positive, negative, read="mean")[0]
    assert mean["mean_diff"].tolist() == [0.75, 1.0]
    whole = actkit.compute_contrastive_diff(positive, negative, read="mean", special_tokens=True)[0]
    assert whole["mean_diff"].tolist() == pytest.approx([(2 + 3 + 2) / 6, (2 + 2 + 4) / 6])


def test_a_side_of_zeros_has_no_cosine() -> None:
    zero, unit = (made([[[value, value]]], [[0]]) for value in (0.0, 1.0))
    assert actkit.compute_contrastive_diff(zero, unit)[0]["cosine"] is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda _: actkit.compute_activation_stats({"layers": []}), "no captured activations"),
        (
            lambda captured: actkit.compute_activation_stats(
                {name: captured[name] for name in captured if name != "special_tokens_mask"}
            ),
            "which tokens are special",
        ),
        (
            lambda captured: actkit.compute_contrastive_diff(captured, captured, read="first"),
            "read='first' is not known",
        ),
        (
            lambda captured: actkit.compute_contrastive_diff(captured, made([[[0.0]]], [[0]])),
            "different layers",
        ),
        (
            lambda _: actkit.compute_contrastive_diff(made([[[0.0]]], [[0]]), made([[[0.0]]] * 2, [[0]] * 2)),
            "1 positive prompts and 2 negative ones",
        ),
        (
            lambda _: actkit.compute_contrastive_diff(*[made([[[0.0]]], [[1]])] * 2, read="mean"),
            "prompt 0 has no position",
        ),
    ],
    ids=["no activations", "no mask", "read", "layers", "pairs", "nothing to read"],
)
def test_errors_say_what_to_do(found: actkit.CapturedActivations, call: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        call(found)
    assert caught.value.hint
