"""JSON files, damaged: what is whole before the damage is read, and what follows is never lost in silence."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from actkit.pipeline.data import Record
from actkit.pipeline.input import json_stream
from actkit.pipeline.input.files import encoding_of
from actkit.pipeline.input.packed import LOOK
from tests.fuzz.damage import CASES, TEXTS, VALUES, common, damaged, fuzz, jsonl, read, same
from tests.fuzz.test_lines import depth, meant

ELEMENTS = st.lists(st.one_of(VALUES, st.dictionaries(TEXTS, VALUES, max_size=4)), max_size=6)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[list[Any], list[int], bytes, bytes]:
    """Values, the byte after each one's comma, the array of them, and the array damaged."""
    values = draw(ELEMENTS)
    data, ends = b"[", []
    for index, value in enumerate(values):
        data += b"\n" * (index > 0) + jsonl([value]).rstrip(b"\n") + (b"," if index < len(values) - 1 else b"\n]")
        ends.append(len(data))
    return values, ends, data if values else b"[]", draw(damaged(data if values else b"[]"))


@pytest.mark.quick(1)
@pytest.mark.parametrize("piece", [1 << 16, 7])
@pytest.mark.parametrize("cases", CASES)
def test_arrays_are_read_up_to_the_damage_and_then_said_to_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: int, piece: int
) -> None:
    monkeypatch.setattr(json_stream, "PIECE", piece)
    path = tmp_path / "t.json"

    def check(case: tuple[list[Any], list[int], bytes, bytes]) -> None:
        values, ends, whole, data = case
        if encoding_of(data[:LOOK]) is not None:  # read as UTF-16, it is another text
            return
        path.write_bytes(data)
        found, error = read(path)
        for value, end, record in zip(values, ends, [*found, *[None] * len(values)], strict=False):
            if end > common(whole, data):
                break
            assert isinstance(record, Record) and same(record.value, value)
        try:
            decoded = meant(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            assert error is not None or any(not isinstance(record, Record) for record in found)
            return
        if decoded and isinstance(decoded[0], list):
            assert error is None
            expected = [value if depth(value) <= 100 else None for value in decoded[0]]
            assert same([record.value if isinstance(record, Record) else None for record in found], expected)
            return
        if data.removeprefix(b"\xef\xbb\xbf").strip() and not found:
            assert error is not None

    fuzz(cases, arrays(), check)
