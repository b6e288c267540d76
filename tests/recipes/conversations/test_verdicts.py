"""What fields say of two answers: the first (-1), the second (1), neither (0), or nothing that can be understood."""

from typing import Any

import pytest

from actkit.recipes.conversations.answers import Answer, texts_of
from actkit.recipes.conversations.verdicts import (
    as_number,
    by_flags,
    by_name,
    by_sign,
    contrary_scores,
    first_if_one,
    plainly,
)

LETTERS, NUMBERS, ZERO = ("a", "b"), ("1", "2"), ("0", "1")


@pytest.mark.parametrize(
    ("value", "names", "says"),
    [
        ("A", LETTERS, -1),
        ("model_b", LETTERS, 1),
        ("[[A]]", LETTERS, -1),
        ("A>B", LETTERS, -1),
        ("B >> A", LETTERS, 1),
        ("A<B", LETTERS, 1),
        ("A=B", LETTERS, 0),
        ("tie (bothbad)", LETTERS, 0),
        (2.0, NUMBERS, 1),
        ("response_1", NUMBERS, -1),
        (12, NUMBERS, None),  # it ends in 2, and is another number
        (0, ZERO, -1),
        ("a good one", LETTERS, None),
        ("gpt-4", LETTERS, 1),
        ("llama", LETTERS, None),
    ],
)
def test_a_name_says_which_is_better(value: Any, names: tuple[str, str], says: int | None) -> None:
    assert by_name(value, names, {"model_a": "vicuna", "model_b": "GPT-4"}) == says


def test_a_model_that_both_answers_are_of_says_nothing() -> None:
    assert by_name("x", LETTERS, {"model_a": "x", "model_b": "x"}) is None


@pytest.mark.parametrize(("value", "says"), [(-2, -1), ("0.5", 1), (0, 0), ("x", None), (None, None), ("nan", None)])
def test_a_sign_says_which_is_better(value: Any, says: int | None) -> None:
    assert by_sign(value, LETTERS, {}) == says


@pytest.mark.parametrize(("value", "says"), [(1, -1), ("0", 1), (True, -1), (2, None), ("x", None)])
def test_one_is_the_first(value: Any, says: int | None) -> None:
    assert first_if_one(value, LETTERS, {}) == says


def test_flags_hold_one_at_a_time() -> None:
    flags = dict.fromkeys(("winner_model_a", "winner_model_b", "winner_tie"), 0)
    assert [by_flags(None, LETTERS, {**flags, name: "1"}) for name in flags] == [-1, 1, 0]
    assert by_flags(None, LETTERS, flags) is None
    assert by_flags(None, LETTERS, {**flags, "winner_tie": 1, "winner_model_a": 1}) is None


def test_values_are_words_whatever_their_type() -> None:
    assert {plainly(value) for value in (1, 1.0, "1", " 1.0 ")} == {"1"} and plainly(True) == plainly("True ") == "true"
    assert as_number("1e400") is None and as_number(10**400) is None and as_number(False) == 0
    assert (
        texts_of('["a", "b"]', "x") == ["a", "b"]
        and texts_of("a", "x") == ["a"]
        and texts_of(["a", None], "x") == ["a", ""]
    )


TWO = ("chosen", "rejected")


@pytest.mark.parametrize(
    ("paths", "fields", "said"),
    [
        (TWO, {"score_chosen": 4.0, "score_rejected": 8.5}, ("score_chosen below score_rejected",)),
        (TWO, {"score_chosen": 8.5, "score_rejected": 4.0}, ()),
        (TWO, {"score_chosen": 4, "score_rejected": 4}, ()),
        (TWO, {"chosen-rating": "2", "rejected-rating": "10"}, ("chosen-rating below rejected-rating",)),
        (TWO, {"chosen_rank": 2, "rejected_rank": 1}, ("chosen_rank above rejected_rank",)),
        (TWO, {"chosen_toxicity_score": 0.9, "rejected_toxicity_score": 0.1},
         ("chosen_toxicity_score above rejected_toxicity_score",)),
        (TWO, {"chosen_length": 2, "rejected_length": 10}, ()),  # no score
        (TWO, {"score_chosen": 4}, ()),
        (TWO, {"score_chosen": None, "score_rejected": 3}, ()),
        (("chosen_response", "rejected_response"), {"chosen_avg_rating": 1, "rejected_avg_rating": 3},
         ("chosen_avg_rating below rejected_avg_rating",)),
        (("response_b", "response_a"), {"score_a": 3, "score_b": 1}, ("score_b below score_a",)),
        (("rejected", "chosen"), {"score_chosen": 8, "score_rejected": 4}, ("score_rejected below score_chosen",)),
        (("chosen[0]", "rejected[2]"), {"score_chosen": 1, "score_rejected": 4},
         ("score_chosen below score_rejected",)),
        (("Best Answer", "Best Incorrect Answer"), {"score": 1}, ()),
    ],
)  # fmt: skip
def test_scores_that_put_the_rejected_answer_first_are_named(
    paths: tuple[str, str], fields: dict[str, Any], said: tuple[str, ...]
) -> None:
    """Inverted pairs went in without a word."""
    better, worse = (Answer("x", path, rank) for rank, path in enumerate(paths))
    assert contrary_scores({"chosen": "a", "rejected": "b", **fields}, better, worse) == said
