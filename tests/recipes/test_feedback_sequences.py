"""Labelled texts and pairs as sequences: which tokens are pooled, and what cannot be."""

from dataclasses import replace
from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.conversations.pairs import Pair
from actkit.recipes.conversations.prompts import Conversation
from actkit.recipes.feedback import Feedback, SampleRendering, of_pair, of_text
from tests.conftest import small_tokenizer

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"


@pytest.fixture(scope="module")
def how() -> SampleRendering:
    tokenizer: Any = small_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return SampleRendering(tokenizer, "auto", 40, chat=False, plain_chat=False)


def said(*messages: tuple[str, str], plain: Any = None) -> Conversation:
    return Conversation(tuple({"role": role, "content": text} for role, text in messages), plain)


ALONE = said(("user", "Hello"), plain=(None, "Hello"))
ANSWER = said(("user", "Hi?"), ("assistant", "Yes"), plain=("Hi?", "Yes"))


def test_of_a_text_alone_all_of_it_is_pooled(how: SampleRendering) -> None:
    found = of_text(3, Feedback("positive", ALONE, None, 2.0), how)
    assert (found.record_id, found.label, found.score, found.group) == (3, "positive", 2.0, None)
    assert found.keep.tolist() == list(range(6)) and found.encoding.text == "Hello" and found.response_start is None


def test_of_an_answer_its_own_tokens_are(how: SampleRendering) -> None:
    found = of_text(0, Feedback("negative", ANSWER), how)
    pooled = "".join(
        found.encoding.text[found.encoding.char_start[at] : found.encoding.char_end[at]] for at in found.keep
    )
    assert pooled.strip() == "Yes" and found.response_start == found.keep[0]
    assert found.group is not None and found.group == of_text(9, Feedback("positive", ANSWER), how).group
    assert of_text(0, Feedback("positive", ANSWER, "mine"), how).group == "mine"


def test_in_a_chat_nothing_of_the_template_is(how: SampleRendering) -> None:
    chatting = replace(how, chat=True, plain_chat=True)
    found = of_text(0, Feedback("positive", ALONE), chatting)
    assert found.encoding.text == "<user>Hello<end>" and [found.encoding.role[at] for at in found.keep] == ["user"] * 5
    turns = said(("user", "Hi?"), ("assistant", "Yes"))
    found = of_text(0, Feedback("positive", turns), chatting)
    assert {found.encoding.role[at] for at in found.keep} <= {"assistant", "template"}
    assert "".join(found.encoding.text[found.encoding.char_start[at]] for at in found.keep[:3]) == "Yes"


def test_a_text_that_is_too_long_is_cut_and_a_prompt_that_is_has_no_answer(how: SampleRendering) -> None:
    short = replace(how, limit=4)
    found = of_text(0, Feedback("positive", ALONE), short)
    assert (len(found.encoding), found.n_truncated, found.keep.tolist()) == (4, 2, [0, 1, 2, 3])
    with pytest.raises(RecordError, match="the prompt alone is longer than 4 tokens") as error:
        of_text(0, Feedback("positive", ANSWER), short)
    assert error.value.field == "prompt"


def test_special_tokens_alone_are_no_text(how: SampleRendering) -> None:
    with pytest.raises(RecordError, match="no token but special ones") as error:
        of_text(0, Feedback("positive", said(("user", "<user>"), plain=(None, "<user>"))), how)
    assert error.value.field == "text"


def pair(chosen: str, rejected: str) -> Pair:
    asked = {"role": "user", "content": "Hi?"}
    sides = [(asked, {"role": "assistant", "content": text}) for text in (chosen, rejected)]
    return Pair(*sides)


def test_a_pair_is_a_prompt_and_the_two_answers_that_continue_it(how: SampleRendering) -> None:
    found = of_pair(5, pair("Yes", "No"), replace(how, chat=True))
    assert [(each.side, each.label, each.parent) for each in found] == [
        ("shared", None, None),
        ("chosen", "positive", 0),
        ("rejected", "negative", 0),
    ]
    assert len({each.group for each in found[1:]}) == 1 and found[1].group
    shared = found[0]
    assert found[1].start == len(shared.encoding) <= found[1].keep[0]
    assert all(each.record_id == 5 for each in found)
