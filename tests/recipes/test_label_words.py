"""Labels as words, and the rules for grades that a user names."""

from decimal import Decimal
from typing import Any

import pytest

from actkit.errors import UsageError
from actkit.pipeline.input.class_names import ClassName
from actkit.recipes.label_words import (
    check_apart,
    is_against,
    is_grade,
    named,
    numbers_of,
    parts_of,
    why_none,
    word_of,
    words_of,
)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (True, "true"),
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        (Decimal("1.00"), "1"),
        (" Good ", "good"),
        (0.5, "0.5"),
        ([1], "(several)"),
    ],
)
def test_one_label_is_one_word_whatever_its_type(value: Any, word: str) -> None:
    assert word_of(value) == word


def test_several_labels_are_found_in_lists_and_in_printed_ones() -> None:
    assert words_of(["Joy", 2.0]) == ["joy", "2"]
    assert parts_of("['joy', 'anger']") == ["joy", "anger"] and parts_of("4,27") == ["4", "27"]
    assert parts_of("joy") == parts_of(4) == []
    assert numbers_of([ClassName("positive", 0), "other"]) == ["0"]


def test_grades_are_numbers_that_are_no_signs() -> None:
    assert [is_grade(word) for word in ("3", "0.5", "1", "-1", "0", "x", "nan", "inf")] == [True, True, *[False] * 6]


def test_rules_hold_for_numbers_alone() -> None:
    positive = named([">=3", "good"])
    assert [positive.holds(word) for word in ("3", "2.9", "4.5", "good", "bad", "nan")] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(UsageError, match="=3 is no rule"):
        named(["=3"])


@pytest.mark.parametrize(
    ("positive", "negative", "says"),
    [
        ([">=3"], ["<=2"], None),
        ([">3"], ["<3"], None),
        ([">=3"], ["<3"], None),
        ([">=3"], ["<=3"], "have grades in common"),
        ([">3"], [">5"], "have grades in common"),
        ([">=3"], ["4"], "4 is given as positive and as negative"),
        (["good"], ["Good"], "good is given as positive and as negative"),
    ],
)
def test_no_label_may_be_of_both_signs(positive: list[str], negative: list[str], says: str | None) -> None:
    if says is None:
        check_apart(named(positive), named(negative))
        assert not any(named(positive).holds(word) and named(negative).holds(word) for word in map(str, range(9)))
    else:
        with pytest.raises(UsageError, match=says):
            check_apart(named(positive), named(negative))


def test_a_name_says_what_a_yes_is_worth() -> None:
    for name in ("toxic", "is_toxic", "isHarmful", "Hate Speech", "labels.toxicity", "rejected"):
        assert is_against(name), name
    for name in ("label", "is_safe", "non_toxic", "helpfulness", "nontoxic", "feedback", "shate"):
        assert not is_against(name), name


def test_an_object_is_no_label_and_its_fields_are_named_in_short() -> None:
    said = why_none({"thumb": "up", "word " * 200: 1, **{f"f{number}": 1 for number in range(9)}}, "label", False)
    assert (
        said.startswith("an object: --label-field names one of its fields, label.thumb, label.f0") and len(said) < 150
    )
    assert len(why_none({"word " * 200: 1}, "label", False)) < 150
