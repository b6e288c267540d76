"""One strange record of a million must not end a run: whatever stands in a field is read, or its record rejected."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.pipeline.data import Record
from actkit.recipes.contrasts import parse_contrast
from actkit.recipes.conversations.fields import FieldNames
from actkit.recipes.conversations.names import CONTEXT
from actkit.recipes.conversations.pair_records import one_a_pair
from actkit.recipes.conversations.pairs import PairsSpec, detect, read_pair
from actkit.recipes.conversations.prompts import read_answered, read_prompt
from tests.recipes.conversations.test_shapes import RECORDS

STRANGE: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    float("nan"),
    float("inf"),
    10**400,
    "",
    " ",
    "x",
    "\ud800",
    "[",
    "{",
    "[[]]",
    "[{}]",
    "{'role': 1}",
    '{"role": ["user"], "content": ["x", "y"]}',
    "[{'role': 'user'}]",
    '[{"role":',
    "\n\nHuman:",
    "Human: \n\nAssistant:",
    "### Human:",
    [],
    {},
    [None],
    [[]],
    [{}],
    [[1, 2]],
    [["x", None]],
    {"role": []},
    {"role": ["user"], "content": "x"},
    {"a": [1], "b": [2]},
    {"messages": {"messages": {"messages": "x"}}},
    {"content": "x"},
    {"role": "user"},
    [{"role": "user", "content": {"a": 1}}],
    [{"role": "assistant", "content": "x", "tool_calls": "y"}],
    [{"from": "function_call", "value": "not JSON"}],
    b"bytes",
    [0, "1", None],
    [{"role": "assistant", "content": [{"type": "text", "text": None}]}],
    {"choices": ["x"], "labels": [1, 2]},
    "[" * 5000,
    {"": ""},
    {0: 1},
]


def said(value: Any) -> Iterator[str]:
    """What every reader makes of a record: a shape, or a reason."""
    readers = (
        lambda: read_pair(value, PairsSpec()).shape,
        lambda: read_prompt(value, FieldNames(), "response").shape,
        lambda: read_answered(value, FieldNames()).shape,
        lambda: str(parse_contrast(value).stem),
    )
    for read in readers:
        try:
            found = read()
        except RecordError as error:
            found = error.reason
            assert found and len(found) < 500
        yield found


@pytest.mark.quick(24)
@pytest.mark.parametrize("data_set", RECORDS)
def test_a_strange_value_in_any_field_is_read_or_rejected(data_set: str) -> None:
    record, draw = RECORDS[data_set][1], random.Random(data_set)
    fields = (*record, "system", "history", "tools", "chat_template_kwargs")
    for field, value in draw.sample([(field, value) for field in fields for value in STRANGE], 60):
        broken = {**record, field: value}
        assert detect(broken) is None or isinstance(detect(broken), str)
        assert len(list(said(broken))) == 4


def test_random_records_are_read_or_rejected() -> None:
    draw = random.Random(0)
    names = [
        *CONTEXT,
        "chosen",
        "rejected",
        "response",
        "text",
        "completion",
        "answers",
        "completions",
        "label",
        "positive",
        "negative",
    ]
    inner = [value for _, record, *_ in RECORDS.values() for value in record.values()]
    for _ in range(800):
        record = {draw.choice(names): draw.choice([*STRANGE, *inner]) for _ in range(draw.randint(1, 6))}
        assert len(list(said(record))) == 4
        for which in ("best-worst", "adjacent", "all"):
            assert list(one_a_pair(iter([Record(0, "f", 1, record)]), PairsSpec(which=which)))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", STRANGE)
def test_what_is_no_object_is_no_record(value: Any) -> None:
    if not isinstance(value, dict):
        assert detect(value) is None
        with pytest.raises(RecordError, match="not an object|no preference pair"):  # messages alone are a conversation
            read_pair(value, PairsSpec())


@pytest.mark.slow
def test_what_is_deep_or_long_takes_no_time() -> None:
    deep: Any = "x"
    for _ in range(2000):
        deep = {"messages": deep}
    long = "\n\nHuman: x\n\nAssistant: y" * 20_000
    for value in (deep, long, json.dumps([{"role": "user", "content": "x"}] * 20_000), "a\n" * 200_000):
        assert len(list(said({"prompt": value, "chosen": "a", "rejected": "b", "query": value}))) == 4
