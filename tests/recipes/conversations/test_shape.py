"""What shape a record of preference pairs has, and which of several; a record that fits two says so."""

from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import FieldNames, Fields
from actkit.recipes.conversations.judged_shapes import JUDGED_SHAPES
from actkit.recipes.conversations.shape import CHOSEN, Shape, is_dialogue_pair, is_not_text, post_of
from actkit.recipes.conversations.shapes import shape_of

PAIR = {"chosen": "a", "rejected": "b"}


def name_of(value: dict[str, Any], **names: Any) -> str | None:
    found = shape_of(Fields(value, FieldNames(**names)))
    return None if found is None else found.name


def test_a_shape_needs_its_answers_one_of_its_fields_and_what_else_it_says() -> None:
    shape = Shape("x", "", (), CHOSEN, needs=("prompt", "question"), also=lambda fields: "no" not in fields.value)
    assert shape.found(Fields({**PAIR, "question": "q"})) and shape.found(Fields({**PAIR, "prompt": "q"}))
    for value in (PAIR, {**PAIR, "prompt": ""}, {"prompt": "q", "chosen": "a"}, {**PAIR, "prompt": "q", "no": 1}):
        assert not shape.found(Fields(value))
    assert Shape("y", "", (), CHOSEN).found(Fields(PAIR))


def test_sides_that_are_dialogues_or_messages() -> None:
    turns = "\n\nHuman: Hi?\n\nAssistant: Yes."
    assert is_dialogue_pair(Fields({"chosen": "a", "rejected": turns})) and not is_dialogue_pair(Fields(PAIR))
    for chosen, other in (
        ([], True),
        ({}, True),
        (' [{"role"', True),
        ("{'a'", True),
        ("text [1]", False),
        (None, False),
    ):
        assert is_not_text(Fields({"chosen": chosen})) is other


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"post": "P", "title": "T", "subreddit": "S"}, "SUBREDDIT: r/S\n\nTITLE: T\n\nPOST: P\n\nTL;DR:"),
        ({"post": "P", "title": "T"}, "TITLE: T\n\nPOST: P\n\nTL;DR:"),
        ({"post": "P"}, "P"),
        ({"article": "A", "title": "T"}, "A"),
    ],
)
def test_what_a_summary_is_of(info: dict[str, str], text: str) -> None:
    found = post_of(Fields({"info": info}))
    assert found.messages == ({"role": "user", "content": text},) and found.plain == text


def test_named_fields_come_first_and_usual_ones_before_what_they_were_made_of() -> None:
    assert name_of({"x": "a", "y": "b"}, chosen="x", rejected="y") == "named-fields"
    assert name_of({"x": "a", "rejected": "b"}, chosen="x") == "named-fields"
    assert name_of({"x": "a"}, chosen="x") is None
    plain = name_of({**PAIR, "prompt": "q"})
    assert plain is not None and plain != "named-fields"
    assert name_of({**PAIR, "prompt": "q", "response_a": "c", "response_b": "d", "winner": "a"}) == plain
    assert name_of({**PAIR, "mine": "q"}, prompt="mine") is not None
    assert name_of({"text": "no pair"}) is None and name_of({}) is None


def test_a_record_that_can_be_read_in_two_ways_says_which_option_decides() -> None:
    judged = {"prompt": "q", "response_a": "c", "response_b": "d", "winner": "a"}
    ranked = {"completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}], "prompt": "q"}
    ordered = {"output": ["a", "b"], "instruction": "q"}
    kinds = [name for name in (name_of(judged), name_of(ranked), name_of(ordered)) if name is not None]
    assert len(set(kinds)) == len(kinds) >= 2
    both = {**judged, **ordered} if name_of(ordered) and name_of(judged) else {**judged, **ranked}
    with pytest.raises(RecordError) as error:
        shape_of(Fields(both))
    assert error.value.field is None and "--input-format" in error.value.reason


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
JUDGED: dict[str, dict[str, Any]] = {
    "post": {"info": {"post": "P"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1},
    "shp": {"history": "P", "human_ref_A": "a", "human_ref_B": "b", "labels": 0},
    "webgpt": {"question": {"full_text": "q"}, "answer_0": "a", "answer_1": "b", "score_0": -1, "score_1": 1},
    "battle": {"conversation_a": TURNS, "conversation_b": TURNS, "winner": "model_b", "turn": 1},
    "battle-turns": {
        "prompt": ["q"],
        "response_a": ["a"],
        "response_b": ["b"],
        "winner_model_a": 0,
        "winner_model_b": 1,
        "winner_tie": 0,
    },
    "conversations-rated": {"conv_A": TURNS, "conv_B": TURNS, "conv_A_rating": 1, "conv_B_rating": 2},
}


@pytest.mark.parametrize("name", JUDGED)
def test_a_judged_record_is_of_its_shape_and_its_second_answer_is_the_better_one(name: str) -> None:
    fields = Fields(JUDGED[name])
    shape = next(shape for shape in JUDGED_SHAPES if shape.name == name)
    assert shape_of(fields) is shape and shape.seen_in
    assert [answer.rank for answer in shape.answers.read(fields)] == [1, 0]


def test_a_question_without_text_is_of_another_shape() -> None:
    assert name_of({**JUDGED["webgpt"], "question": {"full_text": ""}}) == "judged"
    assert len({shape.name for shape in JUDGED_SHAPES}) == len(JUDGED_SHAPES)
