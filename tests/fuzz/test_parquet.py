"""Parquet, with columns of every kind and damaged: as many records as the footer says rows, or an error."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.reader import read_records
from tests.fuzz.damage import CASES, TEXTS, damaged, fuzz, read

LONG, NOW = 2**62, datetime.datetime(2026, 1, 2, 3, 4, 5)
COLUMNS: dict[str, pa.Array] = {
    "text": pa.array(["a", None, "b\x00", ""]),
    "large text": pa.array(["a", "b", None, ""], pa.large_string()),
    "half text": pa.array([b"a", b"\xff", None, b"\xed\xa0\x80"], pa.binary()).view(pa.string()),
    "bytes": pa.array([b"a", b"\xff", None, b""]),
    "dictionary": pa.array(["a", "b", "a", None]).dictionary_encode(),
    "number": pa.array([1, None, -(2**63), 2**63 - 1]),
    "unsigned": pa.array([0, None, 2**64 - 1, 1], pa.uint64()),
    "float": pa.array([float("nan"), float("inf"), None, 1e308]),
    "half float": pa.array([1.5, None, 0.0, 65504.0], pa.float16()),
    "decimal": pa.array([decimal.Decimal("1.00"), None, decimal.Decimal("-99999.99"), decimal.Decimal("0.01")]),
    "boolean": pa.array([True, False, None, True]),
    "null": pa.nulls(4),
    "list": pa.array([["a"], [], None, [None, "b"]]),
    "struct": pa.array([{"a": 1, "b": [{"c": None}]}, None, {"a": None, "b": []}, {}]),
    "map": pa.array([[("a", 1), ("a", 2)], [], None, [("b", None)]], pa.map_(pa.string(), pa.int64())),
    "messages": pa.array([[{"role": "user", "content": "x"}], [], None, [{"role": None, "content": None}]]),
    "far second": pa.array([0, LONG // 2000, None, -LONG // 2000], pa.int64()).cast(pa.timestamp("s")),
    "far microsecond": pa.array([0, LONG, None, -LONG], pa.int64()).cast(pa.timestamp("us")),
    "nanosecond": pa.array([1, None, 2, 3], pa.timestamp("ns")),
    "odd zone": pa.array([NOW, None, NOW, NOW], pa.timestamp("us", tz="Mars/Olympus")),
    "far day": pa.array([0, 2**30, None, -(2**30)], pa.int32()).cast(pa.date32()),
    "duration": pa.array([1, LONG, None, 2], pa.duration("us")),
    "time": pa.array([1, 86_399_999_999, None, 2], pa.time64("us")),
}
READABLE = sorted(set(COLUMNS) - {"half text", "far second", "far microsecond", "odd zone", "far day", "duration"})


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bytes, int]:
    """A file of a few columns, the file damaged (or not), and how many rows it had."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4, unique=True))
    texts = pa.array(draw(st.lists(TEXTS, min_size=4, max_size=4)))
    repeats = draw(st.sampled_from([0, 1, 100]))
    table = pa.table({**{name: COLUMNS[name] for name in names}, "drawn": texts})
    table = pa.concat_tables([table] * repeats) if repeats else table.slice(0, 0)
    buffer = pa.BufferOutputStream()
    pq.write_table(
        table,
        buffer,
        compression=draw(st.sampled_from(["none", "zstd", "gzip", "snappy"])),
        row_group_size=draw(st.sampled_from([1 if repeats == 1 else 50, 1000])),
        data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
        write_page_checksum=True,
    )
    whole = buffer.getvalue().to_pybytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    how = draw(st.sampled_from(["whole", "any", "footer", "page"]))
    if how == "any":
        return whole, draw(damaged(whole)), len(table)
    if how != "whole":
        at = draw(st.integers(footer, len(whole) - 1) if how == "footer" else st.integers(4, max(footer - 1, 4)))
        return whole, whole[:at] + bytes([whole[at] ^ draw(st.integers(1, 255))]) + whole[at + 1 :], len(table)
    return whole, whole, len(table)


@pytest.mark.slow
@pytest.mark.parametrize("cases", CASES)
def test_every_row_is_a_record_or_rejected_or_the_file_is_an_error(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "t.parquet"

    def check(case: tuple[bytes, bytes, int]) -> None:
        whole, data, rows = case
        path.write_bytes(data)
        found, error = read(path)
        if data == whole:
            assert error is None and len(found) == rows
        if error is None:
            assert len(found) == pq.read_metadata(path).num_rows

    fuzz(cases, files(), check)


@pytest.mark.parametrize("name", READABLE)
def test_values_that_python_has_are_records(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"a": COLUMNS[name]}), tmp_path / "t.parquet")
    found = list(read_records(str(tmp_path / "t.parquet")))
    assert all(isinstance(record, Record) for record in found) and len(found) == 4


@pytest.mark.parametrize(
    ("name", "bad", "says"),
    [
        ("half text", [1, 3], "not valid UTF-8"),
        ("far second", [1, 3], "a value that cannot be read: "),
        ("far microsecond", [1, 3], "a value that cannot be read: "),
        ("far day", [1, 3], "a value that cannot be read: "),
        ("odd zone", [0, 2, 3], "a value that cannot be read: "),
    ],
)
def test_a_value_that_python_does_not_have_takes_its_own_row_only(
    tmp_path: Path, name: str, bad: list[int], says: str
) -> None:
    pq.write_table(pa.table({"a": COLUMNS[name], "n": pa.array([0, 1, 2, 3])}), tmp_path / "t.parquet")
    found = list(read_records(str(tmp_path / "t.parquet")))
    rejected = [record for record in found if isinstance(record, Rejected)]
    assert [(record.record_id, record.field) for record in rejected] == [(number, "a") for number in bad]
    assert all(record.reason.startswith(says) for record in rejected)
    assert [record.value["n"] for record in found if isinstance(record, Record)] == [
        n for n in range(4) if n not in bad
    ]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    table: Any = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: two columns are named 'text'"):
        list(read_records(str(tmp_path / "t.parquet")))


def test_a_flipped_byte_in_a_page_with_a_checksum_is_an_error(tmp_path: Path) -> None:
    path, text = tmp_path / "t.parquet", "a text that stands in the page as it is"
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(pa.table({"text": [text]}), path, write_page_checksum=True, **plain)
    data = path.read_bytes()
    assert data.count(b"stands") == 1
    path.write_bytes(data.replace(b"stands", b"stends"))
    found, error = read(path)
    assert error is not None and found == []


def test_a_footer_that_counts_other_rows_than_there_are_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": list(range(97))}), path)
    whole = path.read_bytes()
    count = bytes([0xC2, 0x01])  # 97 as the footer writes it
    places = [at for at in range(len(whole)) if whole[at : at + 2] == count]
    errors = []
    for at in places:
        path.write_bytes(whole[:at] + bytes([0xC4, 0x01]) + whole[at + 2 :])
        found, error = read(path)
        assert error is not None or len(found) == pq.read_metadata(path).num_rows == 97
        errors.append(error or "")
    assert any("97 rows where its footer says 98" in error for error in errors)
