"""Compressed files, damaged: what can be unpacked is read as if it were plain, and then the damage is an error."""

import gzip
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input import files as opened
from actkit.pipeline.input.corpus import find_corpus, read_documents
from actkit.pipeline.input.reader import read_records
from tests.fuzz.damage import CASES, TEXTS, damaged, fuzz, read, same

NAMES = ["t.txt", "t.jsonl", "t.json", "t.csv", "t.tsv"]


@st.composite
def packed(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's name and its bytes: one to three members, damaged, perhaps without their sum or with more after it."""
    name = draw(st.sampled_from(NAMES))
    lines = [json.dumps(text) for text in draw(st.lists(TEXTS, max_size=6))]
    text = "[" + ",\n".join(lines) + "]" if name == "t.json" else "\n".join(lines)
    data = text.encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=2)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = b"".join(gzip.compress(part, mtime=0) for part in parts)
    end = draw(st.sampled_from(["whole", "whole", "no sum", "wrong sum", "zeros after", "more after", "damaged"]))
    ends = {
        "whole": whole,
        "no sum": whole[:-8],
        "wrong sum": whole[:-8] + bytes(8),
        "zeros after": whole + bytes(100),
        "more after": whole + b"and more",
    }
    return name, ends[end] if end in ends else draw(damaged(whole))


def unpacked(data: bytes) -> tuple[bytes, bool]:
    """What can be had out of the members before the damage, and whether it can be had in larger pieces too.

    Where the packed data itself is broken, a piece that has the damage in it gives nothing.
    """
    found = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            for at in range(len(data)):
                found += member.decompress(data[at : at + 1])
                if member.eof:
                    break
        except zlib.error as error:
            return found, "data check" in str(error) or "length check" in str(error)
        if not member.eof:
            return found, True
        data = data[at + 1 :].lstrip(b"\x00")
    return found, True


def values(found: list[Record | Rejected]) -> list[Any]:
    return [(record.line, record.value if isinstance(record, Record) else record.reason) for record in found]


@pytest.mark.parametrize("cases", CASES)
def test_what_can_be_unpacked_is_read_and_damage_is_an_error(tmp_path: Path, cases: int) -> None:
    def check(case: tuple[str, bytes]) -> None:
        name, data = case
        path, plain = tmp_path / f"{name}.gz", tmp_path / name
        path.write_bytes(data)
        found, error = read(path)
        try:
            whole = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            assert error is not None
            before, all_of_it = unpacked(data)
            if name.endswith(("csv", "tsv")):  # half a line would have its say in how the fields are quoted
                before = before[: max(before.rfind(b"\n"), before.rfind(b"\r")) + 1]
            plain.write_bytes(before)
            expected, _ = read(plain)
            # The last record may be cut off, so that it reads as another one or as none.
            surely = len(expected) - 1
            assert len(found) <= len(expected) and (len(found) >= surely or not all_of_it)
            assert same(values(found)[:surely], values(expected)[: min(surely, len(found))])
            return
        plain.write_bytes(whole)
        expected, plain_error = read(plain)
        assert same(values(found), values(expected)) and (error is None) == (plain_error is None)

    fuzz(cases, packed(), check)


BOMBS = {
    "t.txt": b"a" * (40 << 20),
    "t.jsonl": b'{"a": "' + b"a" * (40 << 20) + b'"}',
    "t.json": b'["' + b"a" * (40 << 20) + b'"]',
    "t.csv": b"a,b\n" + b"a" * (40 << 20),
    "t.tsv": b'a\tb\n"' + b"a\n" * (20 << 20) + b'"',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BOMBS, "whole.txt"])
def test_a_bomb_is_not_unpacked_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(opened, "MOST", 1 << 20)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(BOMBS.get(name, BOMBS["t.txt"]), compresslevel=9))
    assert path.stat().st_size < (40 << 20) / 900
    tracemalloc.start()
    try:
        records = read_documents(find_corpus(str(path))) if name == "whole.txt" else read_records(str(path))
        found = list(records)
        assert [record.reason for record in found if isinstance(record, Rejected)] == ["longer than 1,048,576 bytes"]
    except InputError as error:
        assert error.message.startswith(f"{path}:") and name.endswith(("json", "csv", "tsv"))
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 12 << 20


def test_a_line_beyond_the_most_is_rejected_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "MOST", 100)
    path = tmp_path / "t.txt"
    for line in ("x" * 99, "x" * 100, "x" * 101, "x" * 5000):
        path.write_text(f"one\n{line}\ntwo\n")
        found = list(read_records(str(path)))
        assert (
            [record.line for record in found] == [1, 2, 3] and isinstance(found[2], Record) and found[2].value == "two"
        )
        assert isinstance(found[1], Record) == (len(line) < 100)
