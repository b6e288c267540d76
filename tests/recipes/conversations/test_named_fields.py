"""A field that a user names and no record has is said, with the nearest one; records are all there afterwards."""

from typing import Any

import pytest

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.recipes.conversations import named_fields
from actkit.recipes.conversations.named_fields import SHOWN, check_named, fields_shown, with_fields

FIRST: dict[str, Any] = {"prompt": "a", "answer": {"text": "b"}, "score": None}


def records(*values: Any) -> Any:
    yield from (
        value if isinstance(value, Rejected) else Record(number, "x", None, value)
        for number, value in enumerate(values)
    )


def refused(*named: str, values: tuple[Any, ...] = (FIRST,)) -> tuple[str, str]:
    with pytest.raises(InputError) as error:
        check_named(values, named)
    return error.value.message, error.value.hint


def test_a_field_that_some_record_has_is_fine() -> None:
    check_named([FIRST], ["prompt", "answer.text", "score"])
    check_named([FIRST, {"other": 1}], ["other"])
    check_named(["a line", 3], ["prompt"])
    check_named([], ["prompt"])


def test_one_that_none_has_is_named_with_the_nearest() -> None:
    assert refused("promt") == (
        "no record has a field promt",
        "did you mean prompt? the first one has prompt, answer.text, score",
    )
    assert refused("prompt", "zzz") == ("no record has a field zzz", "the first one has prompt, answer.text, score")
    assert refused("answer.txt")[1].startswith("did you mean answer.text? ")
    assert refused("zzz", values=({},)) == ("no record has a field zzz", "the first one has none")
    assert refused("y" * 99, values=({"x" * 99: 1},)) == (
        f"no record has a field {'y' * 60}",
        f"the first one has {'x' * 60}",
    )


def test_many_fields_are_counted() -> None:
    assert fields_shown({f"f{n}": n for n in range(SHOWN + 3)}).endswith(f"f{SHOWN - 1} and 3 more")


def test_records_are_all_there_afterwards_and_only_the_first_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_fields, "LOOK_AHEAD", 3)
    bad = Rejected(1, "x", None, None, "empty line")
    values = ({"a": 1}, bad, {"a": 2}, {"b": 3}, {"b": 4})
    assert [record.record_id for record in with_fields(records(*values), ["a", None])] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="no record has a field b"):
        with_fields(records(*values), ["b"])
    with pytest.raises(InputError, match=r"no record has a field b \(of the first 3\)"):
        with_fields(records({"a": 1}, {"a": 1}, {"a": 1}, {"b": 1}), ["b"])
    whole = records(*values)
    assert with_fields(whole, [None]) is whole, "nothing is read where nothing is named"


def test_fields_may_lie_within_the_value() -> None:
    found = with_fields(
        records({"inner": {"a": 1}}, "a line"), ["a"], lambda value: value["inner"] if isinstance(value, dict) else None
    )
    assert len(list(found)) == 2
