"""Readers: every line or element is a Record or a Rejected, exactly once, and what cannot be told apart is an error."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input import json_stream
from actkit.pipeline.input.reader import left_of, look_ahead, read_records, records_about


def write(folder: Path, name: str, data: str | bytes) -> str:
    path = folder / name
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


def good(path: str, **options: Any) -> list[tuple[int, int | None, Any]]:
    """(record_id, line, value) of every record; none may be rejected."""
    found = list(read_records(path, **options))
    assert all(isinstance(record, Record) and record.source == path for record in found)
    return [(record.record_id, record.line, record.value) for record in found if isinstance(record, Record)]


def bad(path: str) -> list[tuple[int, int | None, str | None, str]]:
    """(record_id, line, field, reason) of every rejected record."""
    return [
        (record.record_id, record.line, record.field, record.reason)
        for record in read_records(path)
        if isinstance(record, Rejected)
    ]


def error_of(path: str) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read_records(path))
    return caught.value


A, B = {"a": "1", "b": "x"}, {"a": "2", "b": "y"}
TEXT_FORMATS = {
    "lines.txt": ("one\ntwo\n", [(0, 1, "one"), (1, 2, "two")]),
    "unknown.suffix": ("one\ntwo", [(0, 1, "one"), (1, 2, "two")]),
    "rows.jsonl": ('{"a": "1", "b": "x"}\n{"a": "2", "b": "y"}\n', [(0, 1, A), (1, 2, B)]),
    "array.json": ('[\n  {"a": "1", "b": "x"},\n\n  {"a": "2",\n  "b": "y"}\n]\n', [(0, 2, A), (1, 4, B)]),
    "values.json": (
        '{"a": "1",\n"b": "x"}\n\n{"a": "2", "b": "y"} 7 "z"',
        [(0, 1, A), (1, 4, B), (2, 4, 7), (3, 4, "z")],
    ),
    "table.csv": ("a,b\n1,x\n2,y\n", [(0, 2, A), (1, 3, B)]),
    "table.tsv": ("a\tb\n1\tx\n2\ty", [(0, 2, A), (1, 3, B)]),
}


@pytest.mark.parametrize("name", TEXT_FORMATS)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
def test_values_ids_and_lines_of_every_text_format(tmp_path: Path, name: str, compressed: bool) -> None:
    """The suffix under .gz says the format; record ids count from 0, lines from 1, where a record begins."""
    data, expected = TEXT_FORMATS[name]
    assert good(write(tmp_path, name + ".gz" * compressed, data)) == expected


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, name: str) -> None:
    data, expected = TEXT_FORMATS[name]
    assert good(write(tmp_path, name, b"\xef\xbb\xbf" + data.replace("\n", "\r\n").encode())) == expected


HARD = [
    'He said "so", and\tleft.',
    "two\nlines, and\r\na third",
    "  around  ",
    "007",
    "1e5",
    "null",
    "True",
    '{"a": [1]}',
    '"',
    "back\\slash \\n",
    "\u2028 \x85 \u00a0 e\u0301 \U0001f389",
    "",
]


def test_the_same_records_in_every_format_are_the_same_values(tmp_path: Path) -> None:
    """No reader guesses types, trims, or ends a value where it goes on."""
    rows = [{"text": text, "number": str(n)} for n, text in enumerate(HARD)]
    write(tmp_path, "t.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    write(tmp_path, "escaped.jsonl", "\n".join(json.dumps(row) for row in rows))
    write(tmp_path, "t.json", json.dumps(rows, indent=1))
    for name, delimiter, quoting in (("t.csv", ",", csv.QUOTE_MINIMAL), ("t.tsv", "\t", csv.QUOTE_ALL)):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
        write(tmp_path, name, text.getvalue())
    table = pa.Table.from_pylist(rows)
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        columns = {name: table[name].cast(kind) for name in table.column_names}
        pq.write_table(pa.table(columns), tmp_path / f"{str(kind)[:10]}.parquet")
    read = {path.name: [value for _, _, value in good(str(path))] for path in sorted(tmp_path.iterdir())}
    assert len(read) == 8 and all(values == rows for values in read.values())


def test_suffixes_are_read_in_any_case(tmp_path: Path) -> None:
    assert good(write(tmp_path, "ROWS.JSONL", '{"a": 1}\n')) == [(0, 1, {"a": 1})]


def test_parquet_rows_have_ids_but_no_lines(tmp_path: Path) -> None:
    """More rows than one batch of the reader, nested values as Python's own."""
    rows = [{"prompt": f"p{n}", "messages": [{"role": "user", "content": str(n)}]} for n in range(600)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert good(str(tmp_path / "t.parquet")) == [(n, None, row) for n, row in enumerate(rows)]


def test_an_unreadable_parquet_file_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path, "t.parquet", b"PAR1 not really")
    error = error_of(path)
    assert error.message.startswith(f"{path}: not a readable Parquet file") and error.hint


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("default", "data", "expected"),
    [
        ("text", b"one\n{2}\n", [(1, "one"), (2, "{2}")]),
        ("jsonl", b'{"a": 1}\n2\n', [(1, {"a": 1}), (2, 2)]),
    ],
)
def test_standard_input_is_read_in_the_commands_own_format(
    monkeypatch: pytest.MonkeyPatch, default: str, data: bytes, expected: list[tuple[int, Any]]
) -> None:
    standard_input(monkeypatch, data)
    found = list(read_records("-", default_format=default))
    assert [(record.line, record.value) for record in found if isinstance(record, Record)] == expected
    assert {record.source for record in found} == {"<stdin>"}


def test_a_bad_line_of_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, b'{"a": 1}\nnonsense\n')
    rejected = list(read_records("-", default_format="jsonl"))[1]
    assert isinstance(rejected, Rejected) and rejected.place == "<stdin>:2"


def test_a_named_pipe_can_be_read(tmp_path: Path) -> None:
    """`actkit capture <(head prompts.txt)` gives a path that exists but is no regular file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Each side waits for the other to open it; a daemon, since where nobody reads it waits for ever.
    threading.Thread(target=path.write_bytes, args=[b"one\ntwo\n"], daemon=True).start()
    assert good(str(path)) == [(0, 1, "one"), (1, 2, "two")]


def test_bad_lines_of_text_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    path = write(tmp_path, "t.txt", b"one\n\n \t\r\n\xff\xfe two\nthree \x00 four \n")
    assert bad(path) == [(1, 2, None, "empty line"), (2, 3, None, "empty line"), (3, 4, None, "not valid UTF-8")]
    kept = [record for record in read_records(path) if isinstance(record, Record)]
    assert [(record.record_id, record.line, record.value) for record in kept] == [
        (0, 1, "one"),
        (4, 5, "three \x00 four "),
    ]


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    """str.splitlines would split at U+2028, form feeds and the like, which texts hold."""
    line = "one\u2028two\x0cthree\x85four\x1cfive"
    assert good(write(tmp_path, "t.txt", line + "\nend")) == [(0, 1, line), (1, 2, "end")]
    assert good(write(tmp_path, "t.jsonl", json.dumps(line, ensure_ascii=False))) == [(0, 1, line)]


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl", "t", "t.txt.gz"])
def test_returns_end_lines_where_nothing_else_does(tmp_path: Path, name: str) -> None:
    """A text was one prompt, records were `Extra data`; where lines end as usual a return is a character of theirs."""
    rows = [json.dumps({"a": 1}), json.dumps({"a": 2})]
    for end in ("\r", ""):
        path = write(tmp_path, name, b"\xef\xbb\xbf" + ("\r".join(rows) + end).encode())
        values = map(json.loads, rows) if name == "t.jsonl" else rows
        assert good(path) == [(at, at + 1, value) for at, value in enumerate(values)]
        assert records_about(path) == 2
    assert good(write(tmp_path, "u.txt", "10 %\r20 %\n30 %\n")) == [(0, 1, "10 %\r20 %"), (1, 2, "30 %")]


def test_bad_lines_of_jsonl_are_rejected_with_a_reason(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b"",
        b'{"a": ',
        b'\xff{"a": 2}',
        b"{'a': 3}",
        b"[" * 100_000,
        b"9" * 5000,
        b"{}{}",
        b'{"a": 4}',
    ]
    path = write(tmp_path, "t.jsonl", b"\n".join(lines))
    found = bad(path)
    assert [record[:3] for record in found] == [(n, n + 1, None) for n in range(1, 8)]
    reasons = [reason for *_, reason in found]
    assert reasons[0] == "empty line" and reasons[2] == "not valid UTF-8"
    assert reasons[3] == "not JSON, but an object that Python printed"
    assert reasons[4] == "not JSON: nested too deeply"
    assert all(reasons[n].startswith("not JSON: ") and ": line" not in reasons[n] for n in (1, 5, 6))
    kept = [record for record in read_records(path) if isinstance(record, Record)]
    assert [(record.record_id, record.line, record.value) for record in kept] == [(0, 1, {"a": 1}), (8, 9, {"a": 4})]


def test_bad_rows_of_csv_are_rejected_and_quoted_ones_counted_by_their_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", b'a,b\n1,"x\n\n""y"", z"\n\n3\n4,5,6\n7,\xff\n8, 9\n' + b"0," + b"w" * 200_000)
    assert bad(path) == [
        (1, 5, None, "empty line"),
        (2, 6, None, "1 fields where the header has 2"),
        (3, 7, None, "3 fields where the header has 2"),
        (4, 8, "b", "not valid UTF-8"),
    ]
    kept = [record for record in read_records(path) if isinstance(record, Record)]
    assert [(record.record_id, record.line, record.value["b"]) for record in kept] == [
        (0, 2, 'x\n\n"y", z'),
        (5, 9, " 9"),
        (6, 10, "w" * 200_000),
    ]


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest_of_a_csv_file(tmp_path: Path) -> None:
    """Read leniently, rows 2 and 3 would end up inside a field of row 1, and nobody would know."""
    path = write(tmp_path, "t.csv", 'a,b\n0,w\n1,"x\n2,y\n3,z\n')
    error = error_of(path)
    assert error.message.startswith(f"{path}:3: ") and "quote" in error.hint


@pytest.mark.parametrize("data", ["", "\n\n", "\ufeff"])
def test_a_csv_file_without_header_is_an_error(tmp_path: Path, data: str) -> None:
    path = write(tmp_path, "t.csv", data)
    assert error_of(path).message == f"{path}: there is no header line"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be-bom", "utf-32"])
@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_utf_16_is_read_as_the_same_text(tmp_path: Path, name: str, encoding: str) -> None:
    """Excel and PowerShell write it; what cannot be decoded is rejected."""
    text, expected = TEXT_FORMATS[name]
    assert (
        good(write(tmp_path, name, text.encode(encoding) if encoding == "utf-16" else coded(text, encoding)))
        == expected
    )


def coded(text: str, encoding: str) -> bytes:
    return {"utf-16-be-bom": b"\xfe\xff" + text.encode("utf-16-be"), "utf-32": text.encode("utf-32")}[encoding]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    text = "".join(json.dumps({"text": f"number {n}"}) + "\n" for n in range(50))
    assert [value["text"] for *_, value in good(write(tmp_path, "t.jsonl", text.encode(encoding)))][49] == "number 49"


def test_half_a_character_of_utf_16_is_rejected_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "t.txt", "\ufeffone\ntwo\n".encode("utf-16-le") + b"x")
    assert [value for *_, value in good_and_bad(path)] == ["one", "two", "not valid UTF-8"]


def good_and_bad(path: str) -> list[tuple[int, Any]]:
    return [
        (record.record_id, record.value if isinstance(record, Record) else record.reason)
        for record in read_records(path)
    ]


@pytest.mark.parametrize("name", TEXT_FORMATS)
@pytest.mark.parametrize("damage", ["cut off", "wrong sum", "no gzip"])
def test_damaged_gzip_is_an_input_error(tmp_path: Path, name: str, damage: str) -> None:
    data = TEXT_FORMATS[name][0].encode()
    packed = gzip.compress(data)
    damaged = {"cut off": packed[:-9], "wrong sum": packed[:-8] + bytes(8), "no gzip": data}[damage]
    path = tmp_path / f"{name}.gz"
    path.write_bytes(damaged)
    error = error_of(str(path))
    assert error.message.startswith(f"{path}: the gzip data is damaged or cut off") and error.hint


@pytest.mark.parametrize(
    ("data", "line", "says", "read_before"),
    [
        ('[\n{"a": 1},\n{"a": 2}\n', 4, "the JSON array is never closed", 2),
        ('[\n{"a": 1},\n{"a": ', 3, "not JSON", 1),
        ("[", 1, "the JSON array is never closed", 0),
        ('[\n{"a": 1},\n\n{"a": nonsense},\n{"a": 3}]', 4, "not JSON", 1),
        ("[1,,2]", 1, "not JSON", 1),
        ("[1,\n" + "[" * 100_000, 2, "nested too deeply", 1),
        ("[1,\n" + "9" * 5000 + "]", 2, "not JSON", 1),
        ('{"a": 1}\n]\n', 2, "not JSON", 1),
        ('[{"a": 1}]\n[{"a": 2}]\n', 2, "there is more after the end of the JSON array", 1),
        ('[{"a": 1}]}', 1, "there is more after the end of the JSON array", 1),
    ],
)
def test_a_broken_json_file_is_an_error_that_names_the_line(
    tmp_path: Path, data: str, line: int, says: str, read_before: int
) -> None:
    """What is whole before the break is read; nothing after it is dropped in silence."""
    path = write(tmp_path, "t.json", data)
    records = read_records(path)
    assert [next(records).record_id for _ in range(read_before)] == list(range(read_before))
    with pytest.raises(InputError) as caught:
        next(records)
    assert caught.value.message.startswith(f"{path}:{line}: {says}") and caught.value.hint


def test_an_element_with_bytes_that_are_no_utf_8_is_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "t.json", b'[1,\n{"a": "\xff"},\n"\xc3\xa9"]')
    assert bad(path) == [(1, 2, None, "not valid UTF-8")]
    assert [record.value for record in read_records(path) if isinstance(record, Record)] == [1, "\u00e9"]


@pytest.mark.parametrize("data", [b"\xef", b"\xef\xbb", b"[1\xef]"])
def test_bytes_that_are_no_utf_8_between_json_values_are_an_error(tmp_path: Path, data: bytes) -> None:
    """Half of a byte order mark too: it is no empty file."""
    path = write(tmp_path, "t.json", data)
    assert error_of(path).message.startswith(f"{path}:1: not JSON")


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_key_that_stands_twice_is_rejected_since_one_value_would_be_lost(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, '{"a": 1}\n{"b": [{"text": "x", "text": "y"}]}\n{"a": 2}\n')
    assert bad(path) == [(1, 2, None, "the key 'text' stands twice in one object")]
    assert [record.value["a"] for record in read_records(path) if isinstance(record, Record)] == [1, 2]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_record_nested_deeper_than_can_be_handled_later_is_rejected(tmp_path: Path, name: str) -> None:
    """It can be parsed, but printing or comparing it would run out of stack."""
    lines = ["[" * depth + "]" * depth for depth in (100, 101, 900)]
    lines.append('{"a": "' + "[" * 500 + '"}')
    path = write(tmp_path, name, "1\n" + "\n".join(lines))
    assert bad(path) == [(2, 3, None, "nested too deeply"), (3, 4, None, "nested too deeply")]
    assert [record.record_id for record in read_records(path) if isinstance(record, Record)] == [0, 1, 4]


def test_what_stands_before_the_end_of_a_cut_off_gzip_file_is_read(tmp_path: Path) -> None:
    values = [{"n": n, "text": str(n**7)} for n in range(500)]
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(json.dumps(values).encode())[:-4])
    records = read_records(str(path))
    assert [record.value for record in itertools.islice(records, len(values)) if isinstance(record, Record)] == values
    with pytest.raises(InputError, match="cut off"):
        next(records)


def test_a_compressed_parquet_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    path = write(tmp_path, "u.parquet.gz", (tmp_path / "t.parquet").read_bytes())
    assert "gunzip" in error_of(path).hint


def _lz4(data: bytes) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "lz4") as stream:
        stream.write(data)
    return bytes(buffer.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lambda data: bytes(_lz4(data)),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_packed_twice_is_no_text(tmp_path: Path, packer: str) -> None:
    """Its lines were noise, and those that are valid UTF-8 by chance were run as prompts."""
    path = write(tmp_path, "twice", gzip.compress(PACKERS[packer](b"Hello.\n" * 99)))
    assert error_of(path).message == f"{path}: packed twice, in {packer} and in gzip"


@pytest.mark.parametrize("suffix", ["", "own"])
@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_a_compressed_file_is_read_whether_its_name_says_so_or_not(
    tmp_path: Path, packer: str, name: str, suffix: str
) -> None:
    text, expected = TEXT_FORMATS[name]
    end = {"gzip": ".gz", "zstd": ".zst", "bzip2": ".bz2", "xz": ".xz", "lz4": ".lz4"}[packer] if suffix else ""
    (tmp_path / (name + end)).write_bytes(PACKERS[packer](text.encode()))
    assert good(str(tmp_path / (name + end))) == expected


@pytest.mark.quick(1)
@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_cut_off_is_an_error_after_what_stands_before_it(tmp_path: Path, packer: str) -> None:
    lines = "\n".join(f"{n * 0.618033988749895}" for n in range(200_000))
    packed = PACKERS[packer](lines.encode())
    path = write(tmp_path, "t.txt", packed[: len(packed) // 2])
    records = read_records(path)
    assert next(records).value == "0.0"  # type: ignore[union-attr]
    with pytest.raises(InputError, match=f"the {packer} data is damaged or cut off"):
        list(records)


@pytest.mark.parametrize(
    "data",
    [b"\r\n" + gzip.compress(b'{"a": 1}\n'), b"\x1f\x8b", gzip.compress(b"") + b"\x1f"],
    ids=["behind", "cut", "more"],
)
def test_gzip_that_is_damaged_before_its_first_byte_is_said_to_be(tmp_path: Path, data: bytes) -> None:
    """Python's own reader says so once, and when it is asked again reads on behind the bytes that it took."""
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="the gzip data is damaged or cut off"):
        list(read_records(str(path)))


@pytest.mark.parametrize("packer", PACKERS)
def test_two_compressed_files_one_after_the_other_are_read_as_one(tmp_path: Path, packer: str) -> None:
    packed = PACKERS[packer](b"one\n") + PACKERS[packer](b"two\n")
    assert [value for *_, value in good(write(tmp_path, "t.txt", packed))] == ["one", "two"]


def test_a_compressed_file_on_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BufferedReader(io.BytesIO(bz2.compress(b"one\ntwo\n")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
    assert [record.value for record in read_records("-") if isinstance(record, Record)] == ["one", "two"]


@pytest.mark.parametrize(
    ("begins", "what"),
    [
        (b"ORC" + bytes(9), "ORC"),
        (b"\x80\x04\x95" + bytes(9), "a Python pickle"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"x.jsonl" + bytes(250) + b"ustar\x0000", "a tar archive"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS in place of the file"),
    ],
)
@pytest.mark.parametrize("name", ["t.jsonl", "t.txt", "t.csv"])
def test_what_is_no_text_is_called_by_its_name(tmp_path: Path, name: str, begins: bytes, what: str) -> None:
    error = error_of(write(tmp_path, name, begins))
    assert error.message == f"{tmp_path / name}: this is {what}" and error.hint


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_pointer_in_place_of_a_table_says_what_fetches_it(tmp_path: Path, name: str) -> None:
    where = write(tmp_path, name, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert error_of(where).hint == "git lfs pull fetches the file that it stands for"


def test_a_parquet_file_under_another_name_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "t.txt")
    assert "ends in .parquet" in error_of(str(tmp_path / "t.txt")).hint


def test_a_text_that_begins_with_the_letters_of_a_packed_one_is_read(tmp_path: Path) -> None:
    assert good(write(tmp_path, "t.txt", "BZh9 is a level\nPAR1 and PK too\n"))[0][2] == "BZh9 is a level"


@pytest.mark.parametrize(("name", "data"), [("t.json", ""), ("t.json", " \n[ ]\n"), ("t.jsonl", ""), ("t.txt", "")])
def test_empty_files_hold_no_records(tmp_path: Path, name: str, data: str) -> None:
    assert good(write(tmp_path, name, data)) == []


@pytest.mark.slow
def test_numbers_and_words_are_whole_wherever_the_buffer_ends(tmp_path: Path) -> None:
    """Pieces are 65,536 characters: a number that crosses the end of one must not become two."""
    for shift in range(8):
        numbers = [123456, True, None, -1.5e10, "\u00e9\\n"] * 4000
        text = " " * shift + "[" + ",".join(map(json.dumps, numbers)) + "]"
        assert len(text) > 1 << 16
        assert [value for *_, value in good(write(tmp_path, "t.json", text))] == numbers
        text = " " * shift + " ".join(map(json.dumps, numbers))
        assert [value for *_, value in good(write(tmp_path, "t.json", text))] == numbers


@pytest.mark.parametrize("piece", range(1, 9))
def test_a_number_cut_at_its_point_or_exponent_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """`1.` alone reads as 1, with a point left over."""
    monkeypatch.setattr(json_stream, "PIECE", piece)
    numbers = [1.5, -2.25, 1e5, 1e7, -0.5e-3, 12, 0]
    for form in (
        "[1.5,-2.25,1e5,1E+7,-0.5e-3,12,0]",
        "1.5 -2.25 1e5 1E+7 -0.5e-3 12 0",
        "[1.5,-2.25,1e5,1E+7,-0.5e-3,12,0 ]\n",
    ):
        assert [value for *_, value in good(write(tmp_path, "t.json", form))] == numbers


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
LINES = st.one_of(
    VALUES.map(lambda value: ("good", json.dumps(value, ensure_ascii=False).encode(), value)),
    st.sampled_from([b"", b"  ", b"\t"]).map(lambda line: ("blank", line, None)),
    st.sampled_from([b"{", b'{"a" 1}', b"nope", b'"\xff"', b"[1,]", b'{"a": 1} x']).map(
        lambda line: ("broken", line, None)
    ),
)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(LINES, max_size=12), ending=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans())
def test_every_line_of_jsonl_is_read_exactly_once(
    lines: list[tuple[str, bytes, Any]], ending: bytes, last: bool
) -> None:
    """Records + Rejected = lines, ids are 0, 1, 2 … in order, and every line number is right."""
    (_, _, only), *more = lines or [("blank", b"", None)]
    # One line that is an array of objects is a whole file of records, of which `spread` makes these.
    assume(more or not isinstance(only, list) or not only or not all(isinstance(value, dict) for value in only))
    data = ending.join(line for _, line, _ in lines)
    if lines and (last or not lines[-1][1]):
        data += ending
    with tempfile.TemporaryDirectory() as folder:
        found = list(read_records(write(Path(folder), "t.jsonl", data)))
    assert [record.record_id for record in found] == list(range(len(lines)))
    assert [record.line for record in found] == list(range(1, len(lines) + 1))
    for record, (kind, _, value) in zip(found, lines, strict=True):
        assert isinstance(record, Record) == (kind == "good")
        if isinstance(record, Record):
            assert record.value == value
        else:
            assert (record.reason == "empty line") == (kind == "blank")


@settings(max_examples=40, deadline=None)
@given(values=st.lists(VALUES, max_size=8), indent=st.sampled_from([None, 0, 2]))
def test_json_arrays_and_loose_values_hold_the_same_records(values: list[Any], indent: int | None) -> None:
    array = json.dumps(values, indent=indent)
    # A text that begins with a list would itself be taken for the array.
    loose = " ".join(json.dumps(value, indent=indent) for value in ["first", *values])
    with tempfile.TemporaryDirectory() as folder:
        assert [value for *_, value in good(write(Path(folder), "t.json", array))] == values
        assert [value for *_, value in good(write(Path(folder), "t.json", loose))] == ["first", *values]


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(VALUES | st.text(alphabet='a"\\\u00e9\U0001f34e\n', max_size=30), max_size=6),
    indent=st.sampled_from([None, 0, 20]),
    ascii_only=st.booleans(),
    piece=st.integers(1, 40),
)
def test_json_is_read_alike_wherever_it_is_cut_into_pieces(
    values: list[Any], indent: int | None, ascii_only: bool, piece: int
) -> None:
    """A value cut anywhere (in a word, a number, an escape, white space) is read on, not called broken."""
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE", piece)
        assert [value for *_, value in good(write(Path(folder), "t.json", text))] == values


def test_a_broken_element_is_named_without_reading_the_whole_file(tmp_path: Path) -> None:
    """Reading on in the hope of its end would hold a file of any size in memory."""
    path = tmp_path / "t.json"
    with path.open("w") as file:
        file.write('[{"a": 1},\n{"a": nope},\n')
        file.writelines('{"a": "' + "x" * 20_000 + '"},\n' for _ in range(1500))
        file.write("1]")
    tracemalloc.start()
    try:
        error = error_of(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.message.startswith(f"{path}:2: not JSON")
    assert peak < 8_000_000


@pytest.mark.parametrize("layout", ["array", "loose", "jsonl"])
def test_a_large_file_is_never_held_in_memory(tmp_path: Path, layout: str) -> None:
    """30 MB of records are read within 8 MB (TRAPS 29)."""
    record = json.dumps({"prompt": "x" * 20_000})
    count = 1500
    path = tmp_path / ("t.jsonl" if layout == "jsonl" else "t.json")
    with path.open("w") as file:
        file.write("[" if layout == "array" else "")
        for n in range(count):
            file.write(("," if n and layout == "array" else "") + "\n" + record if n else record)
        file.write("]" if layout == "array" else "\n")
    assert path.stat().st_size > 30_000_000
    tracemalloc.start()
    try:
        number = sum(isinstance(record, Record) for record in read_records(str(path)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == count
    assert peak < 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("t.txt", "{}"),
        ("t.jsonl", '{{"text": "{}"}}'),
        ("array.json", '[{{"text": "{}"}}, 7]'),
        ("one.json", '{{"text": "{}"}}'),
        ("t.csv", "text\n{}\n"),
    ],
)
def test_one_huge_record_is_read_whole(tmp_path: Path, name: str, pattern: str) -> None:
    text = "word " * 1_000_000 + "end"
    value = good(write(tmp_path, name, pattern.format(text)))[0][2]
    assert (value if isinstance(value, str) else value["text"]) == text


def test_a_missing_file_is_an_error_with_the_nearest_names(tmp_path: Path) -> None:
    for name in ("aaa.jsonl", "bbb.jsonl", "ccc.jsonl", "ddd.jsonl", "eee.jsonl", "pairs.jsonl", "pair.csv"):
        (tmp_path / name).touch()
    error = error_of(str(tmp_path / "pair.jsonl"))
    assert error.message == f"{tmp_path / 'pair.jsonl'}: no such file"
    assert error.hint.startswith("in the same folder: pairs.jsonl, ") and ".csv" not in error.hint


@pytest.mark.parametrize("path", ["no/such/folder/x.txt", "What is **bold.**?", "Tell me. " * 1000])
def test_a_prompt_given_as_a_path_is_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Names that are too long or look like patterns must not end in a traceback."""
    monkeypatch.chdir(tmp_path)
    error = error_of(path)
    assert error.message == f"{path}: no such file" and "standard input" in error.hint


def test_a_folder_without_anything_to_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    assert error_of(str(tmp_path)).message == f"{tmp_path}: no file that can be read"


def test_a_file_is_found_missing_before_anything_is_read(tmp_path: Path) -> None:
    """The model is loaded after `read_records`: a wrong path must not cost a minute."""
    with pytest.raises(InputError):
        read_records(str(tmp_path / "missing.txt"))


def test_two_csv_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Otherwise one of them would be lost without a word."""
    path = tmp_path / "in.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(InputError, match=r"in\.csv:1: two columns are named 'a'"):
        list(read_records(str(path)))


def test_a_column_named_at_length_does_not_fill_the_screen(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(",".join(["word " * 400] * 2) + "\n")
    with pytest.raises(InputError) as caught:
        list(read_records(str(tmp_path / "in.csv")))
    assert len(caught.value.message) < 150 + len(str(tmp_path))


def test_looking_ahead_holds_few_long_records_and_loses_none() -> None:
    taken: list[int] = []

    def long() -> Any:
        for number in range(9):
            taken.append(number)
            yield Record(number, "x.jsonl", number + 1, {"text": "a" * 400})

    first, records, are_all = look_ahead(long(), 5, 1000)
    assert [record.record_id for record in first] == taken == [0, 1, 2] and not are_all
    assert [record.record_id for record in records] == list(range(9))
    first, records, are_all = look_ahead(iter(list(long())[:2]), 5)
    assert len(first) == 2 and are_all and len(list(records)) == 2


def test_marks_before_a_line_are_none_of_it(tmp_path: Path) -> None:
    """Of files with a byte order mark that were joined, and of sequences as RFC 7464 has them, lines were lost."""
    path = write(tmp_path, "t.jsonl", '\ufeff{"a": 1}\n\ufeff{"a": 2}\n\x1e{"a": 3}\n')
    assert good(path) == [(0, 1, {"a": 1}), (1, 2, {"a": 2}), (2, 3, {"a": 3})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1}{"a": 2}', "not JSON: more than one value on a line"),
        ("<!DOCTYPE html><html>", "not JSON, but a page in HTML: was the address of the file itself fetched?"),
        ("  <HTML>", "not JSON, but a page in HTML: was the address of the file itself fetched?"),
        ("<b>", "not JSON: Expecting value"),
    ],
)
def test_what_a_line_is_that_is_no_json_is_said(tmp_path: Path, line: str, reason: str) -> None:
    assert bad(write(tmp_path, "t.jsonl", line)) == [(0, 1, None, reason)]


def test_a_comma_at_the_end_of_each_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.ndjson", '{"a": 1}, \n{"a": 2},\n{"a": 3}\n{"a": 4} x\n{"a": 5,\n')
    assert [reason for *_, reason in bad(path)][:2] == ["not JSON: a comma after the value"] * 2
    assert not any("comma after" in reason for *_, reason in bad(path)[2:])
    assert [record.value for record in read_records(path) if isinstance(record, Record)] == [{"a": 3}]


@pytest.mark.parametrize("pattern", ["", "/*.json*"])
def test_what_datasets_says_of_a_data_set_is_none_of_its_records(tmp_path: Path, pattern: str) -> None:
    for name in ("dataset_info.json", "dataset_infos.json", "a.jsonl"):
        write(tmp_path, name, '{"a": 1}\n')
    write(tmp_path, "b.txt" if pattern else "README.md", "no record\n")
    where = f"{tmp_path}{pattern}"
    assert [Path(record.source).name for record in read_records(where)] == ["a.jsonl"]
    assert "dataset_info.json" in left_of(where, ReadSpec())["files_left"]
    assert len(list(read_records(f"{tmp_path}/dataset_info.json"))) == 1
