"""Contrast pairs in memory: the numbers are those of the tables that `dpo` writes of the same pairs."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import actkit
from actkit.errors import InputError, RunError, UsageError
from tests.conftest import relative_error

PAIRS = (("The sky is", " blue", " red"), ("We went", " up", " down"), ("It was a very", " good", " bad"))
POSITIVE = [prompt + chosen for prompt, chosen, _ in PAIRS]
NEGATIVE = [prompt + rejected for prompt, _, rejected in PAIRS]


def test_differences_are_those_of_the_table_pair_diffs(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    """Sides that part at their last token, which is then the divergence."""
    records = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in PAIRS]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    dense = actkit.DenseSpec(tiny, actkit.OutputSpec(tmp_path / "run"))
    run = actkit.open_run(actkit.run_dpo(actkit.DpoSpec(str(path), chat=False), dense).path)
    pairs = run.to_pandas("pairs")
    assert (pairs["chosen_divergence"] == pairs["chosen_length"] - 1).all()
    assert (pairs["rejected_divergence"] == pairs["rejected_length"] - 1).all()
    found = actkit.capture_contrastive_activations(tiny, POSITIVE, NEGATIVE)
    diffs = run.to_pandas("pair_diffs")
    for layer, figures in actkit.compute_contrastive_diff(*found).items():
        rows = diffs[diffs["layer"] == layer].sort_values("record_id")
        norms = torch.linalg.vector_norm(found.differences[layer], dim=1).tolist()
        assert norms == pytest.approx(rows["divergence_diff_norm"].tolist(), rel=1e-4)
        assert figures["n_pairs"] == len(PAIRS)
        assert figures["diff_norm"] == pytest.approx(rows["divergence_diff_norm"].mean(), rel=1e-4)
        assert figures["cosine"] == pytest.approx(rows["divergence_cosine"].mean(), rel=1e-4)
        mean = found.differences[layer].mean(0)
        assert relative_error(figures["mean_diff"], mean) < 1e-5
        assert figures["mean_diff_norm"] == pytest.approx(float(mean.norm()), rel=1e-5)


def test_each_side_is_what_it_is_alone(tiny: actkit.ModelSpec) -> None:
    """Padded no further than the side itself needs."""
    longer = [text + " and so on, for a good while yet." for text in NEGATIVE]
    positive, negative = actkit.capture_contrastive_activations(tiny, POSITIVE, longer, layers=[0, 2])
    for side, texts in ((positive, POSITIVE), (negative, longer)):
        alone = actkit.capture_activations(tiny, texts, layers=[0, 2])
        assert torch.equal(side.input_ids, alone.input_ids) and torch.equal(side.positions, alone.positions)
        assert torch.equal(side.special_tokens_mask, alone.special_tokens_mask)
        assert (side.prompt, side.tokens, side.n_truncated) == (alone.prompt, alone.tokens, alone.n_truncated)
        assert all(relative_error(side.activations[layer], alone.activations[layer]) < 1e-5 for layer in (0, 2))


def test_the_mean_leaves_special_tokens_and_padding_out(tiny: actkit.ModelSpec) -> None:
    found = actkit.capture_contrastive_activations(
        tiny, ["One.", "The river runs to the sea."], ["Two, and three.", "No."], read="mean", layers=1
    )

    def mean(side: actkit.CapturedActivations, row: int) -> torch.Tensor:
        kept = (side.attention_mask[row] > 0) & (side.special_tokens_mask[row] == 0)
        assert 0 < kept.sum() < side.attention_mask[row].sum()
        return side.activations[1][row, kept].double().mean(0).float()

    expected = torch.stack([mean(found.positive, row) - mean(found.negative, row) for row in range(2)])
    assert relative_error(found.differences[1], expected) < 1e-5


def test_one_text_a_side_is_one_pair(tiny: actkit.ModelSpec) -> None:
    positive, negative = pair = actkit.capture_contrastive_activations(tiny, POSITIVE[0], NEGATIVE[0], layers=2)
    assert positive.prompt == POSITIVE[0] and negative.prompt == NEGATIVE[0]
    assert isinstance(positive.tokens[0], str)
    expected = (positive.activations[2][:, -1].double() - negative.activations[2][:, -1].double()).float()
    assert torch.equal(pair.differences[2], expected)


def test_a_run_that_is_kept_has_positive_prompts_first(tiny: actkit.ModelSpec) -> None:
    found = actkit.capture_contrastive_activations(tiny, POSITIVE, NEGATIVE, layers=0, out="kept")
    assert found.run is not None
    assert found.run.to_pandas("sequences")["text"].tolist() == found.positive.prompt + found.negative.prompt
    assert actkit.capture_contrastive_activations(tiny, "One.", "Two.", layers=0).run is None


def test_columns_of_a_data_frame_are_sides(tiny: actkit.ModelSpec) -> None:
    frame = pd.DataFrame({"positive": POSITIVE, "negative": NEGATIVE})
    found = actkit.capture_contrastive_activations(tiny, frame["positive"], frame["negative"], layers=0)
    assert (found.positive.prompt, found.negative.prompt) == (POSITIVE, NEGATIVE)


@pytest.mark.parametrize(
    ("sides", "options", "error", "says"),
    [
        ((POSITIVE, NEGATIVE[:2]), {}, UsageError, "3 positive prompts and 2 negative ones"),
        (([], []), {}, UsageError, "no prompts"),
        ((["One."], [" "]), {}, InputError, "empty"),
        ((["One."], [7]), {}, UsageError, "int is no prompt"),
        ((POSITIVE, NEGATIVE), {"read": "first"}, UsageError, "read='first' is not known"),
        ((POSITIVE, NEGATIVE), {"read": "mean", "positions": 0}, UsageError, "prompt 0 has no position"),
        ((POSITIVE, NEGATIVE), {"layers": 4}, UsageError, "no layer 4"),
        ((POSITIVE, NEGATIVE), {"max_mb": 0}, RunError, "more than max_mb"),
    ],
)
def test_errors_say_what_to_do(
    tiny: actkit.ModelSpec, sides: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        actkit.capture_contrastive_activations(tiny, *sides, **options)
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint
