"""Answers that are the same few words on one side throughout are found, and others are not."""

import random

import pytest

from actkit.analysis.concepts.contrast import AnswerWords, differing


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("Is it? (A)", "Is it? (B)", ("A", "B")),
        ("q<|assistant|> Yes<|end|>", "q<|assistant|> No<|end|>", ("Yes", "No")),
        ("It is True", "It is False", ("True", "False")),
        ("a b c", "a b c d", ("", " d")),
        ("no", "now", ("no", "now")),
        ("aa", "aaa", ("aa", "aaa")),
    ],
)
def test_what_differs_is_whole_words(first: str, second: str, words: tuple[str, str]) -> None:
    assert differing(first, second) == words
    assert differing(second, first) == words[::-1]


def told(pairs: list[tuple[str, str]]) -> float:
    words = AnswerWords()
    words.count(pairs[:3])
    words.count(pairs[3:])
    return words.told


def test_a_letter_that_is_always_the_positive_one_tells_all_and_one_that_changes_sides_nothing() -> None:
    always = [(f"Q {n}? (A)", f"Q {n}? (B)") for n in range(20)]
    assert told(always) == 1.0
    assert told([pair if n % 2 else pair[::-1] for n, pair in enumerate(always)]) == 0.5
    assert told([pair if n % 4 else pair[::-1] for n, pair in enumerate(always)]) == 0.75


def test_answers_of_their_own_are_no_few_words() -> None:
    rng = random.Random(0)
    words = ["plum", "stone", "river", "house", "cloud", "boat", "tree", "song"]
    own = [(f"Q? {rng.choice(words)} {n} it is", f"Q? {rng.choice(words)} {-n} it was") for n in range(40)]
    assert told(own) == 0.5
    assert told([(f"Q? {'a long answer ' * 5}{n}", f"Q? {'another ' * 9}{n}") for n in range(40)]) == 0.5
    assert told([]) == 0.5
