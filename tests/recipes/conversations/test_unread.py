"""Context that was not read: a repetition is noted, anything else rejects the record with what reads or leaves it."""

import re
from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import FieldNames, Fields
from actkit.recipes.conversations.unread import check_unused, stands_in

SAID = [[{"role": "user", "content": "Be brief.\nWhat is the capital of France, and how large is it?"}]]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"systemPrompt": "Be kind."}, "--system-field systemPrompt reads it, --ignore-field systemPrompt leaves it"),
        (
            {"System Prompt": "Be kind."},
            "--system-field 'System Prompt' reads it, --ignore-field 'System Prompt' leaves",
        ),
        ({"context": "Paris has two million people."}, "not read here; --ignore-field context leaves it out"),
        ({"context": ["Be brief.", "Be kind."]}, "context carries context that would be lost"),
        ({"search_results": {"search_context": ["Paris has it."]}}, "search_results carries context"),  # TriviaQA
        ({"context": 7}, "context carries context that would be lost"),
    ],
)
def test_context_that_nothing_repeats_rejects_its_record(value: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordError, match=re.escape(says)) as caught:
        check_unused(Fields(value), SAID)
    assert caught.value.field == next(iter(value))


@pytest.mark.parametrize(
    "value",
    ["Be brief.", ["Be brief."], {"title": [], "wiki_context": []}, "the capital of France, and how large is it"],
)
def test_context_that_was_said_is_a_repetition(value: Any) -> None:
    fields = Fields({"context": value})
    check_unused(fields, SAID)
    assert list(fields.repeated) == ["context"]


OFFERED = [["Rome", "Oslo"], {"text": ["Rome", "Oslo"], "label": ["A", "B"]}, {"A": "Rome", "B": "Oslo"}]


@pytest.mark.parametrize("name", ["choices", "options", "Answer Choices"])
@pytest.mark.parametrize("value", OFFERED)
def test_what_a_question_lets_choose_among_is_part_of_it(name: str, value: Any) -> None:
    """MMLU, ARC and MedQA have it in a field of its own: the question alone is another one."""
    fields = Fields({"question": "Which?", name: value})
    fields.take("question")
    with pytest.raises(RecordError, match="carries context that would be lost"):
        check_unused(fields, SAID)
    check_unused(fields, [[{"role": "user", "content": "Which?\nA. Rome\nB. Oslo"}]])
    assert list(fields.repeated) == [name]
    check_unused(Fields({"text": "Fine.", name: value}), SAID)  # nothing was asked: a label's


@pytest.mark.parametrize(
    "names",
    [
        ("choice1", "choice2"),
        ("optionA", "optionB"),
        ("opa", "opb", "opc"),
        ("A", "B", "C"),
        ("distractor1", "distractor2"),
    ],
)
def test_choices_may_have_a_field_each(names: tuple[str, ...]) -> None:
    """COPA, WinoGrande, MedMCQA, MMLU as CSV, SciQ: the question alone was run, and they were fields that were left."""
    offered = dict(zip(names, ("Rome", "Oslo", "Bern"), strict=False))
    fields = Fields({"question": "Which?", **offered})
    fields.take("question")
    with pytest.raises(RecordError, match=f"^{names[0]} carries context that would be lost"):
        check_unused(fields, SAID)
    check_unused(fields, [[{"role": "user", "content": "Which?\nA. Rome\nB. Oslo\nC. Bern"}]])
    check_unused(Fields({"text": "Fine.", **offered}), SAID)
    single = Fields({"question": "Which?", names[0]: "Rome"})
    left = Fields({"question": "Which?", **offered}, FieldNames(ignore=(names[1],)))
    for each in (single, left):
        each.take("question")
        check_unused(each, SAID)


@pytest.mark.parametrize("value", [{"temperature": 0.5}, [{"message": {"content": "Hi"}}], ["one"], "Positive"])
def test_settings_and_what_a_service_answered_are_no_choices(value: Any) -> None:
    fields = Fields({"prompt": "Which?", "options": value})
    fields.take("prompt")
    check_unused(fields, SAID)


LONG = "The tide rises twice a day, and falls as often."


@pytest.mark.parametrize("name", ["ContextString", "sql_context", "passage_text", "paragraphs", "additional context"])
@pytest.mark.parametrize("value", [LONG, [{"title": "Sea", "paragraph_text": LONG, "idx": 0}], [LONG]])
def test_a_name_with_a_word_for_context_is_one_of_it(name: str, value: Any) -> None:
    """HarmBench, gretel's SQL, MuSiQue: the question alone was run, and what it is about was a field that was left."""
    fields = Fields(
        {"question": "Which?", name: value, "context_id": LONG, "document_title": LONG, "passage_type": "x"}
    )
    fields.take("question")
    with pytest.raises(RecordError, match=f"^{name} carries context that would be lost"):
        check_unused(fields, SAID)
    said = [[{"role": "user", "content": f"Sea\n{LONG}\nWhich?"}]]
    if isinstance(value, str):
        check_unused(fields, said)
    left = Fields(fields.value, FieldNames(ignore=(name,)))
    left.take("question")
    check_unused(left, SAID)
    short = Fields({"question": "Which?", name: "ambig"})
    short.take("question")
    check_unused(short, SAID)


def test_what_quotes_the_question_and_both_answers_was_written_of_them() -> None:
    """Prometheus's `instruction`, to a judge, rejected every record of a set that is said to be read."""
    asked = {"role": "user", "content": "Which?"}
    both = [[asked, {"role": "assistant", "content": said}] for said in ("Rome.", "Oslo.")]
    judge = "Judge these.\n###Question:\nWhich?\n\n###Response A:\nOslo.\n###Response B:\nRome.\n###Feedback:"
    fields = Fields({"instruction": judge})
    check_unused(fields, both)
    assert list(fields.repeated) == ["instruction"]
    for text, conversations in (
        (judge.replace("Oslo.", "Bern."), both),
        (judge, both[:1]),
        ("Which Rome. Oslo.", both),
        ("Be kind.\nWhich?", both),
    ):
        with pytest.raises(RecordError, match="carries context that would be lost"):
            check_unused(Fields({"instruction": text}), conversations)


def test_an_answer_at_the_end_stands_before_nothing() -> None:
    turns = [{"role": "user", "content": "Be brief."}, {"role": "assistant", "content": "I shall."}]
    check_unused(Fields({"history": turns}), SAID)
    with pytest.raises(RecordError, match="history carries context"):
        check_unused(Fields({"history": [*turns, {"role": "user", "content": "Why?"}]}), SAID)


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("Be brief.", True),
        ("brief.", False),
        ("capital", False),
        ("the capital of France, and how large", True),
        ("", False),
    ],
)
def test_a_short_text_must_be_whole_lines(text: str, stands: bool) -> None:
    assert stands_in(text, [SAID[0][0]["content"]]) is stands
