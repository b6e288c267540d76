"""Trees of messages become a record for each question with ranked replies, whether nested or row by row."""

from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.recipes.conversations.trees import check_alone, from_trees


def message(name: str, parent: str | None, rank: int | None = None, tree: str = "t") -> dict[str, Any]:
    role = "prompter" if parent is None or parent.startswith("a") else "assistant"
    return {
        "message_tree_id": tree,
        "message_id": name,
        "parent_id": parent,
        "text": name.upper(),
        "role": role,
        "rank": rank,
    }


ROWS = [
    message("q", None),
    message("a1", "q", 1),
    message("a2", "q", 0),
    message("q2", "a1"),
    message("a3", "q2", 0),
    message("a4", "q2", 1),
]


def read(values: list[Any]) -> list[Record | Rejected]:
    return list(from_trees(Record(at, "f", at + 1, value) for at, value in enumerate(values)))


def test_rows_of_a_tree_are_its_questions_with_earlier_turns() -> None:
    first, second = (record.value for record in read(ROWS) if isinstance(record, Record))
    assert [turn["text"] for turn in first["messages"]] == ["Q"]
    assert first["answers"] == [{"text": "A1", "rank": 1}, {"text": "A2", "rank": 0}]
    assert [turn["text"] for turn in second["messages"]] == ["Q", "A1", "Q2"]


def test_nested_trees_are_the_same() -> None:
    replies = [{**ROWS[1], "replies": [{**ROWS[3], "replies": ROWS[4:]}]}, ROWS[2]]
    nested = read([{"prompt": {**ROWS[0], "replies": replies}}])
    assert [record.value for record in nested if isinstance(record, Record)] == [
        record.value for record in read(ROWS) if isinstance(record, Record)
    ]


def test_what_leads_nowhere_is_rejected_and_other_records_pass() -> None:
    lost, other = message("a9", "gone", 0, "u"), {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    found = read([lost, other, message("q", None, tree="v"), message("a", "q", 0, "v")])
    assert isinstance(found[0], Rejected) and found[0].field == "parent_id" and found[0].record_id == 0
    assert isinstance(found[1], Record) and found[1].value == other
    assert isinstance(found[2], Rejected) and "two ranked replies" in found[2].reason


def test_messages_that_name_one_another_end() -> None:
    ring = [message("q", "a1"), message("a1", "q", 0)]
    found = read(ring)
    assert found and all(isinstance(record, Rejected) for record in found)


def test_a_message_alone_says_that_its_turns_are_elsewhere() -> None:
    check_alone(ROWS[0], ())
    check_alone(ROWS[1], ("parent_id",))
    with pytest.raises(RecordError, match="earlier turns stand in other records"):
        check_alone(ROWS[1], ())
