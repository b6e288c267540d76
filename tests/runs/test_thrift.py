"""What is spelled in Thrift's compact protocol is read back; bytes that are not so are a ValueError, never a loop."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actkit.runs.thrift import DEEPEST, Compact

Typed = tuple[int, Any]
"""The number of a type, and a value of it."""


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    return bytes([value & 127 | 128]) + number(value >> 7) if value > 127 else bytes([value])


def signed(value: int) -> bytes:
    return number(value << 1 if value >= 0 else (-value << 1) - 1)


def spelled(kind: int, value: Any) -> bytes:
    if kind in (4, 5, 6):
        return signed(value)
    if kind == 7:
        return bytes(value)
    if kind == 8:
        return number(len(value)) + value
    if kind == 9:
        of, values = value
        head = bytes([len(values) << 4 | of]) if len(values) < 15 else bytes([15 << 4 | of]) + number(len(values))
        return head + b"".join(spelled(of, each) for each in values)
    return struct(value)


def struct(fields: dict[int, Typed]) -> bytes:
    """Fields with their numbers as differences where these are small, and in full where they are not."""
    out, before = b"", 0
    for at, (kind, value) in sorted(fields.items()):
        kind = (1 if value else 2) if kind == 1 else kind
        step = at - before
        out += bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + signed(at)
        out += b"" if kind in (1, 2) else spelled(kind, value)
        before = at
    return out + b"\0"


def plain(kind: int, value: Any) -> Any:
    if kind == 9:
        return [plain(value[0], each) for each in value[1]]
    return {at: plain(*typed) for at, typed in value.items()} if kind == 12 else value


INTEGERS = st.integers(-(2**63), 2**63 - 1)
LEAVES = st.one_of(
    st.tuples(st.just(1), st.booleans()),
    st.tuples(st.sampled_from([4, 5, 6]), INTEGERS),
    st.tuples(st.just(7), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(8), st.binary(max_size=200)),
    st.tuples(st.just(9), st.tuples(st.just(6), st.lists(INTEGERS, max_size=20))),
)
FIELDS = st.recursive(
    st.dictionaries(st.integers(1, 300), LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.integers(1, 300), st.tuples(st.just(12), inner), max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(FIELDS)
@example({1: (9, (6, list(range(15)))), 17: (12, {1: (1, False)}), 18: (8, b"")})
def test_a_struct_is_read_back_and_nothing_after_it_is(fields: dict[int, Typed]) -> None:
    data = struct(fields)
    compact = Compact(data + b"more")
    assert compact.struct() == plain(12, fields)
    assert compact.at == len(data)


@settings(max_examples=60, deadline=None)
@given(FIELDS)
def test_a_struct_that_is_cut_off_ends_early(fields: dict[int, Typed]) -> None:
    data = struct(fields)
    for n in range(len(data)):
        with pytest.raises(ValueError, match="ends early|longer than the footer"):
            Compact(data[:n]).struct()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_the_bytes_are_it_ends(data: bytes) -> None:
    try:
        assert isinstance(Compact(data).struct(), dict)
    except ValueError as error:
        assert "footer" in str(error)


def test_maps_and_lists_of_flags_are_values_of_their_types() -> None:
    assert Compact(bytes([0x1B, 2, 0x51, 2, 7, 4, 8]) + b"\0").struct() == {1: [(1, 7), (2, 8)]}
    assert Compact(bytes([0x1B, 0, 0])).struct() == {1: []}
    assert Compact(bytes([0x19, 0x21, 1, 2, 0])).struct() == {1: [1, 2]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes([0x19, 0xF6, 0xFF, 0x7F]), "a list longer than the footer"),
        (bytes([0x1B, 0xFF, 0x7F, 0x66]), "a map longer than the footer"),
        (bytes([0x1D, 0]), r"a footer with an unknown type \(13\)"),
        (bytes([0x16]) + b"\xff" * 10 + b"\0\0", "a footer with a number of too many bytes"),
        (bytes([0x1C]) * (DEEPEST + 2) + b"\0" * 99, "a footer that is nested too deeply"),
    ],
)
def test_what_no_footer_has_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Compact(data).struct()


def test_the_deepest_that_is_read() -> None:
    found = Compact(bytes([0x1C]) * DEEPEST + b"\0" * (DEEPEST + 1)).struct()
    depth = 0
    while found:
        found, depth = found[1], depth + 1
    assert depth == DEEPEST
