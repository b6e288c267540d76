"""Dialogues as one text: what is one, its turns to the character, and prompts that are in a template already."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.errors import RecordError
from actkit.recipes.conversations.dialogues import is_dialogue, open_turns, rendered_by, turns_in

HH = "\n\nHuman: Hello?\n\nAssistant: Hi.\n\nHuman: And?\n\nAssistant:"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (HH, True),
        (HH.lstrip(), True),
        ("Human: Hello?\n\nAssistant: Hi.", True),
        ("### Human: Hello?### Assistant: Hi.", True),
        ("\n### Human: Hello?\n### Assistant:", True),
        ("Hello?\n\nHuman: x\n\nAssistant:", True),
        ("Hello?\n<extra_id_1>Assistant\nHi.\n<extra_id_1>User\nAnd?", True),
        ("What is <extra_id_1>User?", False),
        ("Human: Hello?", False),
        ("A text about Human: beings.\n\nAssistant: was no turn.", False),
        ("### A heading", False),
        ("Assistants: all of them", False),
        ("", False),
    ],
)
def test_what_is_a_dialogue(text: str, is_one: bool) -> None:
    assert is_dialogue(text) is is_one


SAID = st.text("ab :\n#", max_size=12).filter(lambda text: "\n\n" not in text and "#" not in text)


@settings(max_examples=80, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=4), st.booleans())
def test_turns_come_back_to_the_character(said: list[str], hashes: bool) -> None:
    names = ("Human", "Assistant")
    before = "### {}: " if hashes else "\n\n{}: "
    said = [f"x{text}" for text in said]
    if hashes:  # line breaks before the next mark are the mark's
        said = [text.rstrip("\n") for text in said]
    text = "".join(before.format(names[number % 2]) + each for number, each in enumerate(said))
    assert turns_in(text, "f") == [
        {"role": ("user", "assistant")[number % 2], "content": each} for number, each in enumerate(said)
    ]


def test_an_open_turn_asks_for_an_answer_and_is_none() -> None:
    assert [turn["content"] for turn in turns_in(HH, "f")] == ["Hello?", "Hi.", "And?", ""]
    assert [turn["content"] for turn in open_turns(HH, "f")] == ["Hello?", "Hi.", "And?"]
    assert [turn["content"] for turn in open_turns("\n\nHuman: a\n\nAssistant: b", "f")] == ["a", "b"]
    assert [turn["role"] for turn in open_turns("\n\nAssistant: ", "f")] == ["assistant"], "the only one stays"


@pytest.mark.parametrize("before", ["", "<extra_id_0>System\nBe brief.\n<extra_id_1>User\n"])
@pytest.mark.parametrize("end", ["", "\n<extra_id_1>Assistant\n"])
def test_a_question_may_stand_bare_above_the_turns_of_steerlm(before: str, end: str) -> None:
    text = f"{before}Hello,\nyou?\n\n<extra_id_1>Assistant\nHi.\n<extra_id_1>User\nAnd?{end}"
    said = [("system", "Be brief.")] * bool(before) + [("user", "Hello,\nyou?"), ("assistant", "Hi."), ("user", "And?")]
    assert [(turn["role"], turn["content"]) for turn in open_turns(text, "f")] == said


@pytest.mark.parametrize(
    ("text", "reason"),
    [("no turns", "no turn begins with Human: or Assistant:"), ("before\n\nHuman: x", "text before the first turn")],
)
def test_what_is_no_dialogue_is_named_with_its_field(text: str, reason: str) -> None:
    with pytest.raises(RecordError) as error:
        turns_in(text, "prompt")
    assert (error.value.field, error.value.reason) == ("prompt", reason)


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("<s>[INST] Hello? [/INST]", "[INST]"),
        ("<|im_start|>user\nHello?<|im_end|>", "<|im_start|>"),
        ("<|begin_of_text|><|start_header_id|>user", "<|start_header_id|>"),
        ("<bos><start_of_turn>user\nHello?", "<start_of_turn>"),
        ("<|user|>\nHello?", "<|user|>"),
        ("### Instruction:\nSay hello.\n\n### Response:\n", "### Response:"),
        ("A chat. USER: Hello? ASSISTANT:", "ASSISTANT:"),
        ("User: Hello?\nAssistant:", "Assistant:"),
        ("Hello?", None),
        ("What does [INST] mean?", None),
        ("Write a play.\nAssistant:", None),
        ("### Instruction:\nSay hello.", None),
        ("### Response:\n" + "x" * 60, None),
    ],
)
def test_a_template_that_was_applied_already_is_known_by_its_mark(prompt: str, mark: str | None) -> None:
    assert rendered_by(prompt) == mark


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("User: Hello?\nAssistant: Hi.\nUser: And?", "Assistant:"),
        ("**Human:** Hello?\nYou there?\n\n**AI:** Hi.\n**Human:** And?", "AI:"),
        ("USER: Hi\n\n\nASSISTANT: Hello <|endoftext|>\n\n\nUSER: Bye", "ASSISTANT:"),
        ("A chat. USER: Hello? ASSISTANT: Hi.</s>USER: And? ASSISTANT: So.</s>", "ASSISTANT:"),
        ("What does USER: mean?", None),
        ("User: a word for somebody who uses things. Is AI: a user?", None),
        ("Sum this up.\nUser: Hello?\nAssistant: Hi.", None),
    ],
)
def test_a_whole_talk_in_one_prompt_is_known_where_nothing_else_was_asked(prompt: str, mark: str | None) -> None:
    """One message of it would be run as the user's words; among other turns it is what a user pasted."""
    assert rendered_by(prompt, alone=True) == mark
    assert rendered_by(prompt) is None
