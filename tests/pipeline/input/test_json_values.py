"""JSON values are decoded with what makes them no use: a key that stands twice, too much nesting."""

import json

import pytest

from actkit.pipeline.input.json_values import DEEPEST, JsonValues, short


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": {"b": [1, 2]}}', None),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        ('[{"b": 1}, {"c": {"d": 1, "d": 1}}]', "the key 'd' stands twice in one object"),
        ("[" * DEEPEST + "]" * DEEPEST, None),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested too deeply"),
        (json.dumps([[]] * (DEEPEST + 9)), None),  # many, and not deep
    ],
)
def test_a_value_and_its_fault(text: str, fault: str | None) -> None:
    value, found = JsonValues().whole(text)
    assert found == fault
    assert fault is not None or value == json.loads(text)


def test_a_fault_is_of_its_value_alone() -> None:
    values, text = JsonValues(), '{"a": 1, "a": 2} {"b": 3}'
    _, end, fault = values.at(text, 0)
    assert fault is not None and text[:end] == '{"a": 1, "a": 2}'
    assert values.at(text, end + 1) == ({"b": 3}, len(text), None)


def test_what_is_no_json_is_raised_and_told_without_its_position() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        JsonValues().whole('{"a": }')
    long = ValueError("Exceeds the limit (9 digits) for integer string conversion; use sys.set_int_max_str_digits()")
    assert short(long) == "Exceeds the limit (9 digits) for integer string conversion"
    assert short(caught.value) == "Expecting value" and short(RecursionError("x")) == "nested too deeply"
