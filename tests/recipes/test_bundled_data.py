"""The data that come with actkit: balanced and matched, so that what is found in them is what they are about."""

import json
from collections import Counter, defaultdict
from statistics import mean

import pytest
from sklearn.metrics import roc_auc_score

from actkit.recipes.concepts import STEM, concepts
from actkit.recipes.reward_detect import EXAMPLES

ROWS = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
TEXTS = {label: [row["text"] for row in ROWS if row["feedback"] == label] for label in ("positive", "negative")}
NAMES = ("honesty", "creativity", "confidence", "helpfulness", "formality", "verbosity", "enthusiasm", "empathy")


def words(text: str) -> list[str]:
    return text.split()


def test_there_are_two_hundred_texts_of_each_sign_and_no_two_are_equal() -> None:
    assert len(TEXTS["positive"]) == len(TEXTS["negative"]) >= 200
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    assert all(set(row) == {"text", "feedback", "group"} for row in ROWS)


def test_topic_tells_nothing() -> None:
    """Each group speaks of one thing, as often in praise as in complaint."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for row in ROWS:
        groups[row["group"]][row["feedback"]] += 1
    assert len(groups) >= 50
    assert all(count["positive"] == count["negative"] >= 2 for count in groups.values())


def test_length_and_punctuation_tell_nothing() -> None:
    lengths = {label: [len(words(text)) for text in texts] for label, texts in TEXTS.items()}
    assert abs(mean(lengths["positive"]) - mean(lengths["negative"])) < 0.3
    y = [label == "positive" for label in lengths for _ in lengths[label]]
    assert 0.45 < roc_auc_score(y, [length for label in lengths for length in lengths[label]]) < 0.55
    for mark in "!?,":
        counts = [sum(mark in text for text in texts) for texts in TEXTS.values()]
        assert abs(counts[0] - counts[1]) <= 0.05 * len(TEXTS["positive"])


def test_no_single_word_gives_the_label_away() -> None:
    for mine, others in (("positive", "negative"), ("negative", "positive")):
        counted = (Counter(word for text in TEXTS[side] for word in {*words(text.lower())}) for side in (mine, others))
        here, there = counted
        telling = {word: n for word, n in here.items() if n > 3 * there[word]}
        assert max(telling.values()) <= len(TEXTS[mine]) / 4


@pytest.mark.parametrize("name", NAMES)
def test_a_concept_has_templates_and_stems_enough(name: str) -> None:
    concept = concepts()[name]
    assert len(concept.templates) >= 2 and len(set(concept.stems)) == len(concept.stems) >= 60
    assert concept.description.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_sides_of_a_template_are_matched(name: str) -> None:
    """As long as each other, with the stem once, and alike at their end, where they are read."""
    for template in concepts()[name].templates:
        sides = (template.positive, template.negative)
        assert all(side.count(STEM) == 1 for side in sides)
        assert abs(len(words(sides[0])) - len(words(sides[1]))) <= 1
        assert sides[0][-1] == sides[1][-1]


def test_there_are_the_eight_concepts() -> None:
    assert tuple(concepts()) == NAMES
