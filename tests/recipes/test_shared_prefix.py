"""Two texts with a common beginning: what is shared is one sequence, and each side holds all that is read of it."""

import numpy as np
import pytest

from actkit.backends import describe
from actkit.config import ModelSpec
from actkit.errors import RecordError
from actkit.recipes.prompt_response import PromptResponse, encode_plain
from actkit.recipes.shared_prefix import Branch, branches, key_of

TOKENIZER = describe(ModelSpec(device="cpu")).tokenizer


def side(name: str, text: str, first_read: int = -1) -> Branch:
    answered: PromptResponse = encode_plain(TOKENIZER, text, None, "auto")
    n = len(answered.encoding)
    return Branch(name, answered, np.arange(first_read % n, n), name)


def test_the_shared_part_ends_where_the_texts_part() -> None:
    made = branches(4, [side("positive", "The sky is blue."), side("negative", "The sky is red today.")], 64, "g")
    assert [sequence.side for sequence in made] == ["shared", "positive", "negative"] and {
        record.record_id for record in made
    } == {4}
    start = made[1].start
    assert start == made[2].start == len(made[0].encoding) > 1 and len(made[0].keep) == 0
    ids = [sequence.encoding.token_ids.tolist() for sequence in made]
    assert ids[1][:start] == ids[2][:start] == ids[0] and ids[1][start] != ids[2][start]
    assert [sequence.parent for sequence in made] == [None, 0, 0]


def test_a_position_that_is_read_is_in_no_shared_part() -> None:
    """Where reading begins before the texts part, both sides hold it themselves."""
    texts = ("The sky is blue.", "The sky is red.")
    made = branches(0, [side(name, text, 2) for name, text in zip(("a", "b"), texts, strict=True)], 64, None)
    assert made[1].start == 2 and all(sequence.keep[0] == 2 for sequence in made[1:])


def test_texts_that_begin_differently_share_nothing() -> None:
    first = [side("a", "One.", 0), side("b", "Two.", 0)]
    made = branches(0, first, 64, None)
    assert [sequence.side for sequence in made] == ["a", "b"] and [
        (sequence.parent, sequence.start) for sequence in made
    ] == [(None, 0)] * 2


def test_a_side_beyond_the_context_is_named() -> None:
    with pytest.raises(RecordError) as caught:
        branches(0, [side("positive", "One."), side("negative", "One two three four five.")], 4, None)
    assert (caught.value.field, caught.value.reason) == ("negative", "longer than the context of 4 tokens")


def test_equal_prompts_are_one_group_and_others_are_not() -> None:
    assert key_of("x") == key_of("x") != key_of("x ") and len(key_of("x")) == 16
