"""`capture_from_concept` gives what a run of `concept` has in its tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import actkit
from actkit.errors import InputError, RunError, UsageError
from tests.conftest import relative_error

MOST = 48
PAIRS = [(f"I {verb} this, and the {noun}.", f"I hate this, and the {noun}.") for verb in ("love", "like") for noun in (
    "sea", "river", "hare", "bread", "rain", "song", "road", "tree",
)]  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny: actkit.ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> actkit.Run:
    output = actkit.OutputSpec(tmp_path_factory.mktemp("concept") / "run", max_records=MOST)
    finished = actkit.run_concept(actkit.ConceptSpec("honesty"), actkit.DenseSpec(tiny, output, "1,2"))
    return actkit.open_run(finished.path)


@pytest.fixture(scope="module")
def found(tiny: actkit.ModelSpec) -> Any:
    return actkit.capture_from_concept(tiny, "honesty", layers=[1, 2], max_examples=MOST)


def test_directions_and_evidence_are_the_tables(found: actkit.ConceptActivations, run: actkit.Run) -> None:
    pd.testing.assert_frame_equal(found.directions, run.to_pandas("directions"))
    pd.testing.assert_frame_equal(found.scores, run.to_pandas("direction_scores"))
    rows = run.to_pandas("directions").set_index(["layer", "method"])["direction"]
    for method in ("mean-diff", "pca", "logistic"):
        vector = found.direction(2, method)
        assert np.array_equal(vector.numpy(), rows[(2, method)]) and float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(found.direction(2), found.direction(2, "mean-diff", "blocks.2.hook_resid_post"))


def test_differences_are_those_of_the_table_contrasts(found: actkit.ConceptActivations, run: actkit.Run) -> None:
    table = run.to_pandas("contrasts")
    figures = actkit.compute_contrastive_diff(found.positive, found.negative)
    for layer in (1, 2):
        rows = table[table["layer"] == layer].sort_values("record_id")
        norms = torch.linalg.vector_norm(found.differences[layer], dim=1).tolist()
        assert len(rows) == MOST and norms == pytest.approx(rows["diff_norm"].tolist(), rel=1e-5)
        assert figures[layer]["diff_norm"] == pytest.approx(rows["diff_norm"].mean(), rel=1e-6)
        assert figures[layer]["cosine"] == pytest.approx(rows["cosine"].mean(), rel=1e-6)


def test_sides_are_whole_texts_though_the_beginning_was_run_once(
    found: actkit.ConceptActivations, run: actkit.Run
) -> None:
    sequences = run.to_pandas("sequences")
    assert sequences["parent_id"].notna().any()
    for name, side in (("positive", found.positive), ("negative", found.negative)):
        own = sequences[sequences["side"] == name]
        assert side.prompt == own["text"].tolist()
        assert side.attention_mask.sum(1).tolist() == own["n_tokens"].tolist()
        assert np.array_equal(side.activations[2][:, 0].numpy(), run.activations("blocks.2.hook_resid_post", side=name))


@pytest.mark.quick(1)
@pytest.mark.parametrize("positions", ["last", "all"])
def test_both_sides_are_what_the_texts_give_alone(tiny: actkit.ModelSpec, positions: Any) -> None:
    found = actkit.capture_from_concept(tiny, PAIRS[:3], layers=1, positions=positions, chat=False)
    for texts, side in zip(zip(*PAIRS[:3], strict=True), found, strict=True):
        alone = actkit.capture_activations(tiny, list(texts), layers=1)
        assert side.prompt == list(texts) and torch.equal(side.input_ids, alone.input_ids)
        assert torch.equal(side.special_tokens_mask, alone.special_tokens_mask)
        for row in range(3):
            kept = side.positions[row][side.positions[row] >= 0]
            assert relative_error(side.activations[1][row, : len(kept)], alone.activations[1][row, kept]) < 1e-4
            assert int(kept[-1]) == int(alone.attention_mask[row].sum()) - 1


def test_means_of_answers_differ_as_the_table_contrasts_says(tiny: actkit.ModelSpec) -> None:
    names = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
    answers = ((" Yes, it is red.", " No."), (" A rose, or so.", " It was never so, I say."))
    records = [
        dict(zip(names, (f"Is it {noun}?", *sides), strict=True)) for noun in ("a sea", "so") for sides in answers
    ]
    found = actkit.capture_from_concept(tiny, records, layers=1, positions="response-mean", chat=False, out="kept")
    assert found.run is not None
    table = found.run.to_pandas("contrasts").sort_values("record_id")
    norms = torch.linalg.vector_norm(found.differences[1], dim=1).tolist()
    assert len(norms) == 4 and norms == pytest.approx(table["diff_norm"].tolist(), rel=1e-5)


@pytest.mark.slow
def test_pairs_may_be_tuples_records_or_a_file(tiny: actkit.ModelSpec) -> None:
    records = [{"positive": positive, "negative": negative} for positive, negative in PAIRS]
    frame = pd.DataFrame(records)
    frame.to_json("pairs.jsonl", orient="records", lines=True)
    ways: tuple[Any, ...] = (PAIRS, records, frame, "pairs.jsonl", Path("pairs.jsonl"))
    first, *others = (actkit.capture_from_concept(tiny, way, layers=2, chat=False) for way in ways)
    for other in others:
        assert torch.equal(other.direction(2), first.direction(2)) and other.positive.prompt == first.positive.prompt


def test_a_template_is_filled_with_stems(tiny: actkit.ModelSpec) -> None:
    template = actkit.Template("own", "Be glad. {stem}", "Be sad. {stem}")
    found = actkit.capture_from_concept(tiny, template, stems=["What is red?", "And the sea?"], layers=0, chat=False)
    assert found.positive.prompt == ["Be glad. What is red?", "Be glad. And the sea?"]
    assert found.negative.prompt == ["Be sad. What is red?", "Be sad. And the sea?"]


@pytest.mark.slow
def test_a_run_can_be_kept(tiny: actkit.ModelSpec, found: actkit.ConceptActivations) -> None:
    kept = actkit.capture_from_concept(tiny, "honesty", layers=[1, 2], max_examples=MOST, out="kept")
    assert found.run is None and kept.run is not None and kept.run.facts["options"]["what"] == "honesty"
    assert torch.equal(kept.direction(1), found.direction(1))


@pytest.mark.slow
def test_name_and_memory_give_the_same(found: actkit.ConceptActivations, in_memory: Any) -> None:
    other = actkit.capture_from_concept(in_memory, "honesty", layers=[1, 2], max_examples=MOST)
    assert all(torch.equal(other.differences[layer], found.differences[layer]) for layer in (1, 2))
    assert torch.equal(other.direction(2, "logistic"), found.direction(2, "logistic"))


def test_pairs_left_out_are_warned_of(tiny: actkit.ModelSpec) -> None:
    with pytest.warns(UserWarning, match="1 of 17 records were left out"):
        found = actkit.capture_from_concept(tiny, [*PAIRS, ("same", "same")], layers=2, chat=False)
    assert len(found.positive.prompt) == len(PAIRS) and found.facts["counts"]["rejected"] == 1


@pytest.mark.parametrize(
    ("concept", "options", "error", "says"),
    [
        ("no-such-concept", {}, UsageError, "no-such-concept"),
        ("missing.jsonl", {}, InputError, "missing.jsonl"),
        ([], {}, UsageError, "there are no pairs"),
        ([("same", "same")], {}, RunError, "nothing was kept"),
        (["one text"], {}, UsageError, "a positive and a negative"),
        ([("a", "b", "c")], {}, UsageError, "a positive and a negative"),
        ("honesty", {"stems": ["x"]}, UsageError, "stems without a template"),
        (actkit.Template("own", "{stem} a", "{stem} b"), {}, UsageError, "own without stems"),
        (actkit.Template("own", "{stem} a", "{stem} b"), {"stems": [3]}, UsageError, "int is no text"),
        ("honesty", {"layers": 9, "max_examples": 4}, UsageError, "no layer 9"),
    ],
)
def test_errors_say_what_to_do(
    tiny: actkit.ModelSpec, concept: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        actkit.capture_from_concept(tiny, concept, **options)
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint


@pytest.mark.parametrize("n", [0, -3])
def test_no_records_are_not_asked_for(n: int, tiny: actkit.ModelSpec) -> None:
    """It was said that the input was empty."""
    with pytest.raises(UsageError, match=f"max_samples {n} is not possible") as caught:
        actkit.capture_from_concept(tiny, "empathy", max_examples=n)
    assert "from 1 on" in caught.value.hint


def test_a_direction_that_there_is_not_names_those_that_there_are(found: actkit.ConceptActivations) -> None:
    with pytest.raises(UsageError, match="0 directions of layer 3") as caught:
        found.direction(3)
    assert "2 by mean-diff" in caught.value.hint
    with pytest.raises(UsageError, match="by median"):
        found.direction(2, "median")
