"""JSON read by its own functions: shapes by their first object, rows out of each, damage named with its line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.json_file import (
    AS_ROWS,
    MOST_COLUMNS,
    SPLITS,
    WRAPPERS,
    JsonShape,
    numbered,
    read_array,
    read_json,
    shape_of,
)
from actkit.pipeline.input.lines import as_json, read_jsonl, read_lines
from actkit.pipeline.input.records import Record, Rejected

ROWS = [{"prompt": "a", "chosen": "b"}, {"prompt": "c", "chosen": "d"}]


def put(folder: Path, text: Any) -> str:
    path = folder / "in.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return str(path)


SHAPES: dict[str, tuple[Any, JsonShape]] = {
    "an array": (ROWS, JsonShape()),
    "a record": (ROWS[0], JsonShape()),
    "nothing": ("", JsonShape()),
    "an empty object": ({}, JsonShape()),
    "a number": ("3", JsonShape()),
    "damaged": ('{"data": [{"prompt"', JsonShape("wrapper", ("data",))),
    "damaged before it tells": ('{"dat', JsonShape()),
    "a wrapper": ({"version": 1, "data": ROWS}, JsonShape("wrapper", ("data",))),
    "a wrapper of a name of its own": ({"preferences": ROWS}, JsonShape("wrapper", ("preferences",))),
    "a document of results": ({"results": [{"question": "a", "category": "b", "variations": ROWS}]}, JsonShape()),
    "the split that is asked for": ({"test": ROWS, "train": ROWS}, JsonShape("wrapper", ("train",))),
    "pandas' table": ({"schema": {"fields": []}, "data": ROWS}, JsonShape("wrapper", ("data",))),
    "pandas' split": (
        {"columns": ["prompt", "chosen"], "index": [0, 1], "data": [["a", "b"], ["c", "d"]]},
        JsonShape("table", ("data",)),
    ),
    "pandas' index": ({"0": ROWS[0], "1": ROWS[1]}, JsonShape("index")),
    "pandas' columns": ({"prompt": {"0": "a", "1": "c"}, "chosen": {"0": "b", "1": "d"}}, JsonShape("columns")),
    "lists": ({"prompt": ["a", "c"], "chosen": ["b", "d"]}, JsonShape("lists", ("prompt", "chosen"))),
    "lists of other lengths": ({"prompt": ["a", "c"], "chosen": ["b"]}, JsonShape()),
    "empty lists": ({"prompt": [], "chosen": []}, JsonShape()),
    "lists beside something": ({"n": 2, "ids": ["a", "c"], "more": ["b", "d"]}, JsonShape()),
    "a record whose field is messages": ({"messages": [{"role": "user", "content": "x"}]}, JsonShape()),
    "a conversation": ({"turns": [{"from": "human", "value": "x"}]}, JsonShape()),
    "a record of objects": ({"prompt": {"text": "x"}, "n": {}}, JsonShape()),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_of_a_file_by_its_first_object(tmp_path: Path, name: str) -> None:
    text, shape = SHAPES[name]
    assert shape_of(put(tmp_path, text), "train") == shape


def test_every_wrapper_is_one_and_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in WRAPPERS:
        expected = JsonShape("wrapper", (name,))
        assert shape_of(put(tmp_path, {name: ROWS}), name if name in SPLITS else "train") == expected
    with pytest.raises(InputError, match="in.json: there is no split dev") as error:
        shape_of(put(tmp_path, {"train": ROWS, "about": 1, "test": ROWS}), "dev")
    assert error.value.hint == "--split names one of train, test"


def values(path: str) -> list[Any]:
    found = list(read_json(path, ReadSpec()))
    assert [record.record_id for record in found] == list(range(len(found)))
    return [record.value if isinstance(record, Record) else record.reason for record in found]


@pytest.mark.parametrize("name", [name for name, (_, shape) in SHAPES.items() if shape.kind != "values"])
def test_rows_come_out_of_every_shape(tmp_path: Path, name: str) -> None:
    text, _ = SHAPES[name]
    if name == "damaged":
        with pytest.raises(InputError, match="in.json:1"):
            values(put(tmp_path, text))
    else:
        assert values(put(tmp_path, text)) == ROWS


def test_lines_are_those_at_which_values_begin(tmp_path: Path) -> None:
    text = '{\n"data": [\n{"prompt": "a"},\n\n{"prompt":\n"b"}, {"prompt": "c"}]}'
    assert [record.line for record in read_json(put(tmp_path, text), ReadSpec())] == [3, 5, 6]
    text = '{\n"0": {"prompt": "a"},\n"1":\n{"prompt": "b"}}'
    assert [record.line for record in read_json(put(tmp_path, text), ReadSpec())] == [2, 4]


def test_rows_of_the_hubs_api_are_taken_out_of_their_envelope(tmp_path: Path) -> None:
    rows = [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)]
    assert values(put(tmp_path, {"rows": [*rows, {"row_idx": 3}, {"row": {"a": 1}}]})) == [
        *ROWS,
        {"row_idx": 3},
        {"row": {"a": 1}},
    ]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ({"columns": ["a", "a"], "data": [[1, 2]]}, "in.json: columns need names, each its own", AS_ROWS),
        ({"columns": [1, 2], "data": [[1, 2]]}, "in.json: columns need names, each its own", AS_ROWS),
        ({"a": {"0": 1, "1": 2}, "b": {"0": 1}}, "in.json: its columns do not have the same rows", AS_ROWS),
        ({"a": {"0": 1, "1": 2}, "b": {"0": 1, "2": 2}}, "in.json: its columns do not have the same rows", AS_ROWS),
        (
            {f"c{n}": {"0": n} for n in range(MOST_COLUMNS + 1)},
            f"in.json: {MOST_COLUMNS + 1} columns, one after another",
            AS_ROWS,
        ),
        (
            '{"data": [{"prompt": "a"}]}\n{"data": []}',
            "in.json:2: there is more after the end",
            "put it into one array",
        ),
    ],
)
def test_what_cannot_be_rows_is_said(tmp_path: Path, text: Any, says: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        values(put(tmp_path, text))
    assert error.value.message.rpartition("/")[2].startswith(says) and error.value.hint == hint


def test_a_row_of_a_table_with_other_values_is_rejected_alone(tmp_path: Path) -> None:
    text = {"columns": ["a", "b"], "data": [[1, 2], [1], [1, 2, 3], [5, 6]]}
    assert values(put(tmp_path, text)) == [{"a": 1, "b": 2}, *["a row needs 2 values"] * 2, {"a": 5, "b": 6}]


def test_values_one_after_another_and_an_array_that_goes_on() -> None:
    def of(text: str) -> list[Any]:
        return [value for _, value, _ in read_array(io.BytesIO(text.encode()), "x")]

    assert of('{"a": 1}\n{"a": 2} 3, "x"') == [{"a": 1}, {"a": 2}, 3, "x"]
    assert of("[1, 2]") == [1, 2] and of("[]") == [] and of("") == []
    for text in ("[1, 2] 3", "[1 2", "[1, "):
        with pytest.raises(InputError):
            of(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON.filter(lambda value: value is not None), max_size=6), st.sampled_from([None, 1]))
def test_whatever_is_in_an_array_comes_out_of_it(values: list[Any], indent: int | None) -> None:
    text = json.dumps(values, indent=indent)
    assert [value for _, value, fault in read_array(io.BytesIO(text.encode()), "x") if fault is None] == values


def jsonl(folder: Path, text: str | bytes) -> list[Any]:
    path = folder / "in.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        (record.line, record.value if isinstance(record, Record) else record.reason)
        for record in read_jsonl(str(path), ReadSpec())
    ]


def test_a_line_is_a_value_or_rejected(tmp_path: Path) -> None:
    found = jsonl(tmp_path, '{"a": 1}\n\n[2]\nx\n{"a": 1, "a": 2}\n"last"')
    assert [line for line, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in found][:3] == [{"a": 1}, "empty line", [2]]
    assert found[3][1].startswith("not JSON: ") and "a" in found[4][1] and found[5][1] == "last"
    assert jsonl(tmp_path, b'{"a": "\xff"}\n1\n')[0][1] == "not valid UTF-8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[\n{"a": 1},\n{"a": 2}]', [(2, {"a": 1}), (3, {"a": 2})]),
        ('{\n  "a": 1\n}\n{\n  "a": 2\n}', [(1, {"a": 1}), (4, {"a": 2})]),
        ('[{"a": 1},\n {"a": 2}]', [(1, {"a": 1}), (2, {"a": 2})]),
        ("\ufeff[\n[1],\n[2]]", [(2, [1]), (3, [2])]),
        ("[1]\n[2]", [(1, [1]), (2, [2])]),
        ('[{"a": 1}]\n[{"a": 2}]', [(1, [{"a": 1}]), (2, [{"a": 2}])]),
    ],
)
def test_a_document_under_the_name_of_jsonl_is_read_as_one(tmp_path: Path, text: str, expected: list[Any]) -> None:
    assert jsonl(tmp_path, text) == expected


def test_lines_of_text_are_numbered_and_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(" one \n\t\n{\n")
    found = list(read_lines(str(tmp_path / "in.txt"), ReadSpec()))
    assert [record.value for record in found if isinstance(record, Record)] == [" one ", "{"]
    assert [(each.record_id, each.line, each.reason) for each in found if isinstance(each, Rejected)] == [
        (1, 2, "empty line")
    ]


def test_what_is_a_value_already_and_what_is_rejected_pass() -> None:
    record, rejected = Record(0, "x", 1, {"a": 1}), Rejected(1, "x", 2, None, "empty line")
    assert list(as_json(each for each in (record, rejected, Record(2, "x", 3, "[1]")))) == [
        record,
        rejected,
        Record(2, "x", 3, [1]),
    ]
    items = [(1, "a", None), (2, "b", "why")]
    assert list(numbered(items, "x")) == [Record(0, "x", 1, "a"), Rejected(1, "x", 2, None, "why")]
