"""A prompt and its answer as one text: what of their joint is counted."""

import pytest

from actkit.recipes.prompt_response import touching
from actkit.runs.progress import REPEATING, TOUCHING

ASKED = "What is two plus two?"


@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_that_begins_with_its_prompt_is_counted(chat: bool) -> None:
    """The model reads the prompt twice then, and nothing said so."""
    assert touching((ASKED, f" {ASKED} Four."), chat) == {REPEATING: ["prompt"]}
    assert touching(("Hi", "High time."), True) == {}
    assert touching(("Hi", "High time."), False) == {TOUCHING: ["prompt and answer"]}
    assert touching((ASKED, " Four."), chat) == {} == touching((None, ASKED), chat)
