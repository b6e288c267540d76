"""Lines of text and JSONL, damaged: every line is a record or rejected, whatever stands in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.files import encoding_of
from actkit.pipeline.input.lines import MARKS, is_document
from actkit.pipeline.input.packed import LOOK
from tests.fuzz.damage import CASES, TEXTS, VALUES, damaged, fuzz, is_array_of_objects, jsonl, read, same

LINES = st.lists(TEXTS, max_size=6).map(lambda texts: "\n".join(texts).encode()).flatmap(damaged)
JSONL = st.lists(st.one_of(VALUES, st.dictionaries(TEXTS, VALUES, max_size=4)), max_size=6).map(jsonl).flatmap(damaged)


def lines_in(data: bytes) -> list[str | None]:
    """The text of each line; None for one that is no UTF-8. Where no line feed is, returns end lines."""
    raw = data.split(b"\n" if b"\n" in data else b"\r")
    if not raw[-1].removeprefix(b"\xef\xbb\xbf" if len(raw) == 1 else b""):
        raw.pop()
    found: list[str | None] = []
    for number, line in enumerate(raw):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        try:
            found.append(line.decode().rstrip("\r"))
        except UnicodeDecodeError:
            found.append(None)
    return found


def read_lines(path: Path, data: bytes) -> list[tuple[Record | Rejected, str | None]]:
    """What each line was read as, beside its text: each line once, in order. Of what begins as UTF-16, nothing."""
    path.write_bytes(data)
    found, error = read(path)
    assert error is None
    if encoding_of(data[:LOOK]) is not None:
        return []
    expected = lines_in(data)
    assert [record.line for record in found] == list(range(1, len(expected) + 1))
    return list(zip(found, expected, strict=True))


@pytest.mark.parametrize("cases", CASES)
def test_every_line_of_a_text_is_a_record_or_rejected(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "t.txt"

    def check(data: bytes) -> None:
        for record, line in read_lines(path, data):
            assert (record.value if isinstance(record, Record) else None) == (line if line and line.strip() else None)

    fuzz(cases, LINES, check)


class NotOnceError(Exception):
    """A key stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise NotOnceError
    return dict(pairs)


def meant(line: str | None) -> list[Any]:
    """The value of a line of JSON; nothing where it has none, or a key twice."""
    try:
        return [] if line is None else [json.loads(line.lstrip(MARKS), object_pairs_hook=_once)]
    except (ValueError, RecursionError, NotOnceError):
        return []


def depth(value: Any) -> int:
    """Levels of lists and objects."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, (dict, list)) + max(map(depth, inner), default=0)


@pytest.mark.parametrize("cases", CASES)
def test_every_line_of_jsonl_is_its_value_or_rejected(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "t.jsonl"

    def check(data: bytes) -> None:
        if is_document(data[:LOOK]):
            return
        lines = lines_in(data)
        only = meant(lines[0]) if len(lines) == 1 else []
        if only and is_array_of_objects(only[0]):
            return
        for record, line in read_lines(path, data):
            values = meant(line)
            if values and depth(values[0]) > 100:
                values = []
            assert isinstance(record, Record) == bool(values)
            assert isinstance(record, Rejected) or same(record.value, values[0])

    fuzz(cases, JSONL, check)
