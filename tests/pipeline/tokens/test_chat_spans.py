"""Placeholders for contents and thoughts, and where the contents then stand in a rendered text."""

import pytest

from actkit.pipeline.tokens.chat_spans import between, with_marks, with_tag

M = "\ue000one\ue001"
T = "\ue000thoughtone\ue001"


@pytest.mark.parametrize(
    ("content", "text", "pieces"),
    [
        ("Hi.", M, [(M, "Hi.")]),
        ("<think>Why?</think>\nSo.", f"<think>{T}</think>\n{M}", [(T, "Why?"), (M, "So.")]),
        ("Why?</think>So.", f"{T}</think>{M}", [(T, "Why?"), (M, "So.")]),
        ("<think>\n</think>So.", f"<think>\n</think>{M}", [(M, "So.")]),
        ("<think>Why?</think>", M, [(M, "<think>Why?</think>")]),
        ("<think>a</think><think>b</think>c", M, [(M, "<think>a</think><think>b</think>c")]),
    ],
)
def test_a_thought_and_its_answer_get_a_placeholder_each(
    content: str, text: str, pieces: list[tuple[str, str]]
) -> None:
    marked, found = with_marks(content, M)
    assert found == pieces
    assert marked == text


def test_spans_are_found_whole_or_trimmed_in_any_order() -> None:
    shape = "<s>[B] then [A]</s>"
    text = "<s>second then first</s>"
    spans = between(shape, [("[A]", " first "), ("[B]", "second")], text)
    assert spans is not None and {mark: text[slice(*span)] for mark, span in spans.items()} == {
        "[A]": "first",
        "[B]": "second",
    }


@pytest.mark.parametrize("text", ["<s>second then first", "<s>second or first</s>", "<s>other then first</s>"])
def test_a_text_that_is_not_the_shape_has_no_spans(text: str) -> None:
    assert between("<s>[B] then [A]</s>", [("[A]", "first"), ("[B]", "second")], text) is None


def test_a_placeholder_that_stands_twice_or_nowhere_is_no_place() -> None:
    assert between("[A] [A]", [("[A]", "x")], "x x") is None
    assert between("", [("[A]", "x")], "x") is None


def test_a_thought_begins_with_its_tag() -> None:
    text = "ask <think>\nWhy"
    assert text[with_tag(text, text.index("Why")) :].startswith("<think>")
    assert with_tag("ask Why", 4) == 4
