"""What the fuzzing tests share: hostile texts and values, damage to a file's bytes, and the reading of one case."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actkit.errors import ActkitError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.reader import read_records

NAUGHTY: list[str] = json.loads((Path(__file__).parents[1] / "data" / "naughty_strings.json").read_text("utf-8"))
MANY = pytest.param(int(os.environ.get("ACTKIT_CASES", "10000")), id="many", marks=pytest.mark.slow)
CASES = [pytest.param(80, id="some"), MANY]
"""How many cases a test tries."""
PATIENCE = 30
"""Seconds after which a case is taken to hang."""
TEXTS = st.one_of(
    st.sampled_from(NAUGHTY),
    st.sampled_from(
        [
            "",
            " ",
            "word " * 700,
            "../../x",
            "{stem}",
            "<|bos|>",
            "\n\nHuman: Why?\n\nAssistant: Because.",
            'a "quote", a comma\nand a line',
            "\u2028\x85\x0c\x1c",
            "nul \x00 nul",
            "\ufeffbegins with a mark",
            "\u202eright to left",
            "\U0001f469\u200d\U0001f469\u200d\U0001f466",
            "e\u0301" * 50,
        ]
    ),
    st.text(max_size=12),
)
HALF = st.sampled_from(["\ud800", "a \udfff b"])
NUMBERS = st.sampled_from([0, 1, -1, 10**400, -(10**400), 1.5, 1e308, float("inf"), float("nan"), 2**63, True, False])
VALUES = st.recursive(
    st.one_of(TEXTS, HALF, NUMBERS, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
FRAGMENTS: list[bytes] = [
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b'"',
    b'""',
    b"'",
    b",",
    b"]",
    b"[",
    b"{",
    b"}",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    "gru\xdf".encode("latin-1"),
    "wort\n".encode("utf-16-le"),
    "\u8a9e".encode("shift-jis"),
    b"1e999",
    b"-1e-999",
    b"1" + b"0" * 400,
    b"9" * 5000,
    b"NaN",
    b"[" * 300 + b"]" * 300,
    b'{"a":' * 150 + b"1" + b"}" * 150,
    b"[" * 100_000,
    b'{"a": 1, "a": 2}',
    b'{"' + b"k" * 70_000 + b'": 1}',
    b"\t",
    b" " * 70_000,
]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` after up to three kinds of damage; sometimes none."""
    for _ in range(draw(st.integers(0, 3))):
        size = len(data)
        at = draw(st.integers(0, size))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "lines", "recode"]))
        if kind == "flip" and at < size:
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + draw(st.sampled_from(FRAGMENTS)) + data[at:]
        elif kind == "remove":
            data = data[:at] + data[at + draw(st.integers(1, 40)) :]
        elif kind == "repeat":
            part = data[at : at + draw(st.integers(1, 40))]
            data = data[:at] + part + data[at:]
        elif kind == "lines":
            data = data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"", b"\n\n"])))
        elif kind == "recode":
            codec = draw(st.sampled_from(["utf-16", "utf-16-be", "utf-32", "latin-1", "utf-8-sig"]))
            data = data[:at] + data[at:].decode("utf-8", "replace").encode(codec, "replace")
    return data


def common(first: bytes, second: bytes) -> int:
    """How many bytes two files have in common at their beginning."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail a case that does not end."""

    def stop(*_: object) -> None:
        raise AssertionError(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(
    path: Path, records: Callable[[str], Iterator[Record | Rejected]] = read_records
) -> tuple[list[Record | Rejected], str | None]:
    """What a reader yields, and the error that it ends with. Whatever is no ActkitError fails the test."""
    found: list[Record | Rejected] = []
    error = None
    with no_hang():
        try:
            found.extend(records(str(path)))  # what comes before an error stays
        except ActkitError as caught:
            error = caught.message
            assert path.name in error and caught.hint and len(error) < 1000
    assert [record.record_id for record in found] == list(range(len(found)))
    assert {record.source for record in found} <= {str(path)}
    lines = [record.line for record in found if record.line is not None]
    assert lines == sorted(lines)
    for record in found:
        if isinstance(record, Rejected):
            assert record.reason and len(record.reason) < 400
            record.reason.encode()
    return found, error


def same(first: Any, second: Any) -> bool:
    """Whether two values are the same, NaN counted as itself and 1 told from True and 1.0."""
    return bool(json.dumps(first, default=repr) == json.dumps(second, default=repr))


def is_array_of_objects(value: Any) -> bool:
    """Whether a file whose only line is `value` is read as an array of records, and not as one record a line."""
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)


def fuzz(cases: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Run `check` on so many cases, always the same ones, and print how many there were."""
    tried = 0

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Any) -> None:
        nonlocal tried
        tried += 1
        check(case)

    run()
    sys.stdout.write(f"{tried:,} cases\n")
    assert tried >= cases


def jsonl(values: Sequence[Any]) -> bytes:
    """Values as lines of JSON; half characters as escapes, the rest as it is."""
    return b"".join(_spelled(value) + b"\n" for value in values)


def _spelled(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
