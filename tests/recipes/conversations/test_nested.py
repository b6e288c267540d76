"""Fields that lie within others, as logs of chat services have them, and conversations under names of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.pipeline.input.field_names import DEEPEST, MOST, leaves
from actkit.recipes.conversations.fields import FieldNames, Fields, lookup
from actkit.recipes.conversations.prompts import read_answered, read_prompt
from tests.command_line import Run

CALL = {
    "id": 1,
    "request": {"messages": [{"role": "user", "content": "Is it late?"}], "options": {}},
    "response": {"choices": [{"message": {"role": "assistant", "content": "Yes, it is."}, "index": 0}]},
}


def test_the_paths_of_a_record_reach_into_objects_and_lists_of_them() -> None:
    assert list(leaves(CALL)) == [
        "id",
        "request.messages",
        "request.options",
        "response.choices.0.message",
        "response.choices.0.index",
    ]
    assert all(lookup(CALL, path) == value for path, value in leaves(CALL).items())
    deep: dict[str, Any] = {"a": 1}
    for _ in range(3 * DEEPEST):
        deep = {"a": deep}
    assert [path.count(".") for path in leaves(deep)] == [DEEPEST - 1]
    assert len(leaves({str(at): at for at in range(3 * MOST)})) == MOST
    assert list(leaves({"chosen": {"role": ["user"], "content": ["x"]}})) == ["chosen"]  # as `datasets` writes a list


@pytest.mark.parametrize("path", ["response.choices.0.message.content", "response.choices[0].message.content"])
def test_a_place_in_a_list_is_written_either_way(path: str) -> None:
    assert lookup(CALL, path) == "Yes, it is."
    fields = Fields(CALL, FieldNames())
    assert fields.take(path) and fields.left == ["id", "request"]
    assert lookup({"a[0]": "as it is", "a": ["another"]}, "a[0]") == "as it is"
    assert lookup({"a": ["x"]}, "a[1]") is None


def test_an_answer_within_an_object_is_run_and_one_that_is_nowhere_is_an_error(actkit: Run, tmp_path: Path) -> None:
    """Neither was looked for: the prompt was run alone, without a word."""
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps(CALL) + "\n")
    given = ["capture", str(path), "--layers", "0", "-q", "--prompt-field", "request.messages"]
    answer = ["--response-field", "response.choices.0.message.content"]
    found = actkit(*given, *answer, "-o", str(tmp_path / "x"), "--json").found
    assert found["input"]["fields_left"] == {"id": 1} and found["counts"]["written"] == 1
    shown = actkit("show", str(tmp_path / "x"), "--json").found
    assert shown["first_sequences"][0]["response_start"] is not None
    wrong = actkit(*given, "--response-field", "respons", "-o", str(tmp_path / "y"))
    assert wrong.status == 1 and "no record has a field respons" in wrong.err
    assert "response.choices.0.message" in wrong.err


@pytest.mark.parametrize(
    "record",
    [
        {"turns": [{"speaker": "customer", "utterance": "Is it late?"}, {"speaker": "agent", "utterance": "Yes."}]},
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Is it late?"}]},
                {"role": "model", "parts": [{"text": "Yes."}]},
            ],
        },
    ],
)
def test_the_only_field_of_messages_is_the_conversation(record: dict[str, Any]) -> None:
    asked = read_prompt({**record, "csat": 5}, FieldNames())
    assert [(message["role"], message["content"]) for message in asked.messages][-2:] == [
        ("user", "Is it late?"),
        ("assistant", "Yes."),
    ]
    assert (asked.messages[0]["role"] == "system") == ("contents" in record) and asked.left == ("csat",)
    assert read_answered(record, FieldNames()).answered
    with pytest.raises(RecordError, match="no field"):
        read_prompt(
            {**record, "more": next(iter(value for value in record.values() if isinstance(value, list)))}, FieldNames()
        )


def test_a_field_is_there_where_it_can_be_looked_up() -> None:
    """Whether one is there is first seen from how the record's own fields begin, whatever dots their names have."""
    inner = {"text": "x", "a.b": [{"c": "y"}], "0": "z"}
    names = ("a", "a.b", "a[0]", "a[0].b", "a.b.c", "[0]", ".a", "a.", "b", "")
    paths = [
        *names,
        *(f"{name}{end}" for name in names for end in (".text", ".a.b.0.c", "[0]", "[0].text", ".0.b", ".b")),
    ]
    there = 0
    for name in names:
        for value in (inner, [inner, "v"], '{"text": "w"}', "t"):
            fields = Fields({name: value, 7: "seven"})
            found = [path for path in paths if fields.has(path)]
            assert found == [path for path in paths if lookup(fields.value, path) is not None]
            there += len(found)
    assert there > 100
