"""The ways to give a file to each command: the plainest first, and options that say what they try."""

from typing import Any

import pytest

from actkit.config import ReadSpec
from actkit.recipes import capture, dpo, feature_dataset
from actkit.recipes.conversations.fields import ContextFields
from actkit.recipes.peeking.columns import FileColumn
from actkit.recipes.peeking.tries import Asked, Try, tries_of

COMMANDS = ["dpo", "concept", "reward-detect", "capture", "sae-extract", "feature-dataset"]


def columns(rows: list[dict[str, Any]]) -> list[FileColumn]:
    found = {name: FileColumn(name) for row in rows for name in row}
    for row in rows:
        for name, value in row.items():
            found[name].add(value)
    return list(found.values())


def tried(rows: list[dict[str, Any]], **context: Any) -> dict[str, list[Try]]:
    found = list(tries_of("in.jsonl", ReadSpec(), columns(rows), rows, ContextFields(**context)))
    assert [command for command, _ in found] == COMMANDS
    return dict(found)


ROWS = [{"ask": f"What is the sum of {n} and one, please?", "my_reply": f"It is {n + 1}.", "n": n} for n in range(9)]


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (Asked(), ()),
        (Asked(chat=True), ("--chat",)),
        (Asked("a"), ("--prompt-field", "a")),
        (Asked("a", "b", chat=True), ("--prompt-field", "a", "--response-field", "b", "--chat")),
    ],
)
def test_what_is_tried_is_what_is_to_be_typed(asked: Asked, options: tuple[str, ...]) -> None:
    assert asked.options == options
    assert asked.fields(ContextFields())["response_field"] == (asked.response or "response")


def test_texts_are_tried_as_prompts_and_what_may_answer_them_after_them() -> None:
    found = tried(ROWS)
    ways = [each.options for each in found["capture"]]
    assert ways[:2] == [(), ("--chat",)] and ways == [each.options for each in found["sae-extract"]]
    asked, named = ("--prompt-field", "ask"), ("--response-field", "my_reply")
    assert ways.index((*asked, *named)) < ways.index(asked)
    assert ("--prompt-field", "my_reply") in ways and not any("n" in way for way in ways), "a number is no text"
    assert [each.options for each in found["feature-dataset"]][:2] == [(), ("--text-field", "ask")]
    assert [each.options for each in found["dpo"]] == [()]


def test_pairs_within_one_object_are_named() -> None:
    within = {"pair.prompt": "q", "pair.chosen": "a", "pair.rejected": "b", "other.chosen": "c"}
    assert [each.options for each in tried([within] * 3)["dpo"]] == [
        (),
        ("--prompt-field", "pair.prompt", "--chosen-field", "pair.chosen", "--rejected-field", "pair.rejected"),
    ]


def test_an_empty_label_and_a_column_without_a_name_are_typed() -> None:
    """CSV has empty text where there is no label, and pandas writes the index as a column without a name."""
    rows = [{"text": f"some words of text {n}", "flag": ("", "spam")[n % 2], "": n % 2} for n in range(20)]
    ways = [each.options for each in tried(rows)["reward-detect"]]
    assert ("--label-field", "flag", "--positive", "", "--negative", "spam") in ways
    assert ("--label-field", "", "--positive", ">0.5", "--negative", "<0.5") in ways


def test_fields_that_are_left_out_are_left_out_in_every_way() -> None:
    for ways in tried(ROWS, ignore_field=("n", "x")).values():
        assert ways and all(each.options[-4:] == ("--ignore-field", "n", "--ignore-field", "x") for each in ways)


def test_a_way_makes_the_recipe_of_its_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    for command in (capture, dpo, feature_dataset):
        monkeypatch.setattr(command, "recipe", lambda spec, made: seen.append((spec, made)))
    found = tried(ROWS)
    made: Any = object()
    for command in ("capture", "dpo", "feature-dataset"):
        for each in found[command]:
            each.recipe(made)
    specs = [spec for spec, with_what in seen if with_what is made]
    assert len(specs) == len(seen) == sum(len(found[command]) for command in ("capture", "dpo", "feature-dataset"))
    captures = specs[: len(found["capture"])]
    assert [(spec.prompt_field, spec.chat) for spec in captures][:2] == [(None, False), (None, True)]
    assert all(spec.path == "in.jsonl" for spec in captures)
    assert specs[-len(found["feature-dataset"]) + 1].text_field == "ask"
