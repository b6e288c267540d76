"""Contrast pairs in the shapes that they come in; nothing is paired twice, guessed or lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Record, Rejected
from actkit.recipes import concepts
from actkit.recipes.concepts import Template
from actkit.recipes.contrasts import Contrast, contrasts_in, from_stems, parse_contrast

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, *records: Any) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return str(path)

    return to


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two concepts of two templates and three stems."""
    templates = [
        {"name": "a", "positive": "Be kind. {stem}", "negative": "Be rude. {stem}"},
        {"name": "b", "positive": "{stem} Answer kindly.", "negative": "{stem} Answer rudely."},
    ]
    concept = {"description": "Kindness.", "templates": templates, "stems": ["Who?", "What?", "Why?"]}
    path = tmp_path / "concepts.json"
    path.write_text(json.dumps({"concepts": {"kindness": concept, "honesty": concept}}), encoding="utf-8")
    monkeypatch.setattr(concepts, "CONCEPTS", path)
    concepts.concepts.cache_clear()
    yield
    concepts.concepts.cache_clear()


def texts(found: Contrast) -> tuple[str, str, str | None, str, str | None]:
    """Both sides, what they answer, the stem and the template."""
    sides = (str(side.messages[-1]["content"]) for side in (found.positive, found.negative))
    return (*sides, found.prompt, found.stem, found.template)  # type: ignore[return-value]


def read(what: str) -> tuple[str, list[Record | Rejected]]:
    form, records = contrasts_in(what)
    return form, list(records)


@pytest.mark.usefixtures("small")
def test_a_built_in_concept_has_every_template_for_every_stem() -> None:
    form, records = read("Kindness")
    assert form == "built-in concept"
    found = [parse_contrast(record.value) for record in records if isinstance(record, Record)]
    assert [(contrast.stem, contrast.template) for contrast in found] == [
        (stem, name) for stem in ("Who?", "What?", "Why?") for name in ("a", "b")
    ]
    assert texts(found[1]) == ("Who? Answer kindly.", "Who? Answer rudely.", None, "Who?", "b")
    assert [record.record_id for record in records] == list(range(6))


@pytest.mark.usefixtures("small")
def test_an_unknown_concept_is_answered_with_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match="no concept honestly") as raised:
        contrasts_in("honestly")
    assert "did you mean honesty?" in raised.value.hint and "kindness" in raised.value.hint


@pytest.mark.usefixtures("small")
def test_a_file_that_is_not_there_is_no_concept() -> None:
    with pytest.raises(InputError, match="no such file"):
        contrasts_in("nothing.jsonl")


@pytest.mark.usefixtures("small")
def test_pairs_and_answers(write: Write) -> None:
    pair = {"positive": "p", "negative": "n"}
    persona = {"question": "Q?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No", "x": 1}
    form, records = read(write("a.jsonl", pair, {**pair, "stem": "s", "template": "t"}))
    assert form == "pairs"
    first, second = (parse_contrast(record.value) for record in records if isinstance(record, Record))
    assert texts(first) == ("p", "n", None, "p\nn", None)
    assert texts(second) == ("p", "n", None, "s", "t")
    form, records = read(write("b.jsonl", persona))
    assert form == "answers"
    assert isinstance(records[0], Record)
    assert texts(parse_contrast(records[0].value)) == (" Yes", " No", "Q?", "Q?", None)


@pytest.mark.parametrize("none", [None, ""])
def test_an_empty_stem_is_no_stem_that_pairs_share(none: str | None) -> None:
    """Else all pairs of a table whose column is empty would be one stem, with nothing to hold out."""
    persona = {"question": "Q?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}
    empty = {"stem": none, "template": none}
    assert texts(parse_contrast({**persona, **empty})) == (" Yes", " No", "Q?", "Q?", None)
    assert texts(parse_contrast({"positive": "p", "negative": "n", **empty})) == ("p", "n", None, "p\nn", None)
    assert parse_contrast({**persona, "stem": 0}).stem == "0"


@pytest.mark.usefixtures("small")
def test_statements_are_paired_in_order_and_what_is_left_is_rejected(write: Write) -> None:
    values = [("t1", 1), ("t2", 1), ("f1", 0), ("", 0), ("t3", 1), ("f2", 0), ("x", "maybe")]
    form, records = read(write("s.jsonl", *({"statement": text, "label": label} for text, label in values)))
    assert form == "statements"
    pairs = [record for record in records if isinstance(record, Record)]
    assert [(pair.value.positive, pair.value.negative) for pair in pairs] == [("t1", "f1"), ("t2", "f2")]
    rejected = [record for record in records if isinstance(record, Rejected)]
    assert [(record.line, record.field, record.reason) for record in rejected] == [
        (4, "statement", "empty"),
        (7, "label", "neither positive nor negative"),
        (5, "label", "no statement of the other label is left for it"),
    ]
    assert [record.record_id for record in records] == list(range(5))


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ("text", None, "not an object"),
        ({"positive": "p"}, "negative", "missing"),
        ({"positive": "p", "negative": " "}, "negative", "empty"),
        ({"positive": 1, "negative": "n"}, "positive", "not text"),
        ({"positive": "p", "negative": "p"}, "negative", "equal"),
        ({"answer_matching_behavior": "a", "answer_not_matching_behavior": "b"}, "question", "missing"),
    ],
)
def test_a_side_that_is_missing_or_equal_is_named(value: Any, field: str | None, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as raised:
        parse_contrast(value)
    assert raised.value.field == field


@pytest.mark.usefixtures("small")
def test_a_file_of_something_else_says_what_is_wanted(write: Write) -> None:
    with pytest.raises(InputError, match="no contrast pairs in its first 1 record") as raised:
        contrasts_in(write("o.jsonl", {"text": "x"}))
    assert "statement, label" in raised.value.hint


def test_stems_of_a_file(tmp_path: Path, write: Write) -> None:
    template = Template("own", "Kind: {stem}", "Rude: {stem}!")
    lines = tmp_path / "stems.txt"
    lines.write_text("one\n\ntwo\n", encoding="utf-8")
    found = list(from_stems(template, str(lines)))
    assert [record.value["negative"] for record in found if isinstance(record, Record)] == ["Rude: one!", "Rude: two!"]
    assert [record.reason for record in found if isinstance(record, Rejected)] == ["empty line"]
    rows: list[Any] = [{"stem": "one"}, {"question": "two"}, {"other": 1}]
    objects = list(from_stems(template, write("stems.jsonl", *rows)))
    stems = [parse_contrast(record.value).stem for record in objects if isinstance(record, Record)]
    assert stems == ["one", "two"]
    assert [record.reason for record in objects if isinstance(record, Rejected)] == [
        "no text in a field stem or text or prompt or instruction or question or query"
    ]


def test_a_whole_text_given_for_a_concept_is_an_error_and_no_traceback() -> None:
    with pytest.raises(UsageError) as caught:
        contrasts_in("be honest " * 500)
    assert caught.value.message.startswith("no concept be honest") and len(caught.value.message) < 300


def test_a_statement_among_pairs_is_rejected_by_name(write: Write) -> None:
    path = write("mixed.jsonl", {"positive": "a", "negative": "b"}, {"statement": "Ice is cold.", "label": 1})
    _, (pair, statement) = read(path)
    assert isinstance(pair, Record) and isinstance(statement, Record)
    with pytest.raises(RecordError, match="a statement among pairs") as caught:
        parse_contrast(statement.value)
    assert caught.value.field == "statement"


def test_a_gap_in_a_table_is_no_stem_that_pairs_share() -> None:
    found = [parse_contrast({"positive": text, "negative": "b", "stem": float("nan")}).stem for text in ("a", "c")]
    assert found == ["a\nb", "c\nb"]


@pytest.mark.parametrize("name", ["stem", "template"])
def test_half_a_character_in_a_name_is_named(name: str) -> None:
    with pytest.raises(RecordError, match="half a character") as caught:
        parse_contrast({"positive": "a", "negative": "b", name: "\ud800"})
    assert caught.value.field == name


SHAPES: dict[str, tuple[str, dict[str, Any], tuple[Any, ...]]] = {
    "sentence-transformers": (
        "pairs",
        {"anchor": "A man plays.", "positive": "He plays.", "negative": "He sleeps."},
        ("He plays.", "He sleeps.", None, "A man plays.", None),
    ),
    "TruthfulQA.csv": (
        "answers",
        {
            "Type": "Adversarial",
            "Question": "Why?",
            "Best Answer": "So.",
            "Best Incorrect Answer": "No.",
            "Correct Answers": "So.; Thus.",
        },
        ("So.", "No.", "Why?", "Why?", None),
    ),
    "truthful_qa": (
        "answers",
        {"question": "Why?", "best_answer": "So.", "correct_answers": ["So."], "incorrect_answers": ["No.", "Never."]},
        ("So.", "No.", "Why?", "Why?", None),
    ),
    "TruthfulQA.csv of 2021": (
        "answers",
        {"Question": "Why?", "Best Answer": "So; thus.", "Incorrect Answers": "No.; Never."},
        ("So; thus.", "No.", "Why?", "Why?", None),
    ),
    "truthful_qa in a table of text": (
        "answers",
        {"question": "Why?", "best_answer": "So.", "incorrect_answers": '["No.", "Never."]'},
        ("So.", "No.", "Why?", "Why?", None),
    ),
    "Anthropic's with lists": (
        "answers",
        {
            "question": "Which? (A) (B) (C)",
            "answer_matching_behavior": " (B)",
            "answer_not_matching_behavior": [" (A)", " (C)"],
        },
        (" (B)", " (A)", "Which? (A) (B) (C)", "Which? (A) (B) (C)", None),
    ),
    "steering-vectors": (
        "pairs",
        {"positive_str": "I love it.", "negative_str": "I hate it."},
        ("I love it.", "I hate it.", None, "I love it.\nI hate it.", None),
    ),
    "repeng": (
        "pairs",
        {"positive": "Act happy. I", "negative": "Act sad. I"},
        ("Act happy. I", "Act sad. I", None, "Act happy. I\nAct sad. I", None),
    ),
    "CSV with capitals": (
        "pairs",
        {"Positive": "Yes, of course.", "Negative": "No."},
        ("Yes, of course.", "No.", None, "Yes, of course.\nNo.", None),
    ),
}


@pytest.mark.parametrize("known", SHAPES)
def test_the_shapes_of_known_data_sets(known: str, write: Write) -> None:
    form, value, expected = SHAPES[known]
    found, records = read(write("x.jsonl", value))
    assert found == form and isinstance(records[0], Record)
    contrast = parse_contrast(records[0].value)
    assert texts(contrast) == expected
    assert set(contrast.positive.read) <= set(value)


def test_statements_under_other_names(write: Write) -> None:
    """The columns' own names are those that a run says it read."""
    form, records = read(write("x.jsonl", {"Claim": "a", "Label": "true"}, {"Claim": "b", "Label": "false"}))
    (pair,) = records
    assert form == "statements" and isinstance(pair, Record)
    contrast = parse_contrast(pair.value)
    assert texts(contrast)[:2] == ("a", "b") and contrast.positive.read == ("Claim", "Label")


def test_texts_alone_are_stems_and_the_error_says_what_makes_pairs_of_them(tmp_path: Path) -> None:
    """RepE's scenarios and repeng's beginnings of answers are lists of texts."""
    (tmp_path / "anger.json").write_text(json.dumps(["You are cut off in traffic.", "Somebody takes the credit."]))
    with pytest.raises(InputError, match="no contrast pairs in its first 2 records") as caught:
        read(str(tmp_path / "anger.json"))
    assert "--stems FILE --positive" in caught.value.hint
    (tmp_path / "b.jsonl").write_text('{"good": "a", "bad": "b"}\n')
    with pytest.raises(InputError, match="the first record has the fields good, bad"):
        read(str(tmp_path / "b.jsonl"))


@pytest.mark.parametrize("printed", ["['No.' 'Never.']", "['No.', 'Never.']", "[' (A)']"])
def test_a_list_that_was_printed_is_no_answer(printed: str) -> None:
    """All of it was one answer, brackets and quotes too."""
    for record in (
        {"question": "q", "best_answer": "a", "incorrect_answers": printed},
        {"question": "q", "answer_matching_behavior": " (B)", "answer_not_matching_behavior": printed},
    ):
        with pytest.raises(
            RecordError, match="holds a Python list that was printed: write the column as JSON"
        ) as caught:
            parse_contrast(record)
        assert caught.value.field == [*record][2]


@pytest.mark.parametrize("answers", [[], [" "], [5]])
def test_a_list_of_answers_without_one_is_no_side(answers: list[Any]) -> None:
    value = {"question": "q", "answer_matching_behavior": "a", "answer_not_matching_behavior": answers}
    with pytest.raises(RecordError) as caught:
        parse_contrast(value)
    assert caught.value.field == "answer_not_matching_behavior"


@pytest.mark.parametrize(
    ("beside", "before"),
    [
        ({"prompt": "Q?"}, ["user: Q?", "assistant: yes"]),
        ({"system": "S"}, ["system: S", "user: yes"]),
        ({"prompt": "Q?", "history": [["a", "b"]]}, ["user: a", "assistant: b", "user: Q?", "assistant: yes"]),
    ],
)
def test_what_stands_beside_both_sides_stands_before_both(beside: dict[str, Any], before: list[str]) -> None:
    """They were read as two texts alone."""
    found = parse_contrast({**beside, "positive": "yes", "negative": "no"})
    said = [
        [f"{each['role']}: {each['content']}" for each in side.messages] for side in (found.positive, found.negative)
    ]
    assert said[0] == before and said[1] == [*before[:-1], before[-1].replace("yes", "no")]
