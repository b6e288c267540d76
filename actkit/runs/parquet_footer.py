"""A Parquet file's footer, read without Arrow, for what Arrow 26 ends the process over when it is asked of it.

Where a row group's metadata contradicts the schema, C++ throws an exception that `RowGroupMetaData.column` and
`ColumnChunkMetaData.statistics` let through, and the process is aborted: whoever opens a file that may be damaged asks
`contradiction` first. The footer is a struct in Thrift's compact protocol, followed by its length and `PAR1`; field
numbers are those of `parquet.thrift` (apache/parquet-format).
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

TAIL = 8
"""Bytes of the length and the magic after the footer."""
AT_ONCE = 1 << 16
"""Bytes that are read from a file's end, in the hope that its footer is in them: one elsewhere is asked once."""
DEEPEST = 32
TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
WIDTHS = (1, 4, 8, 12, 4, 8, None, None)
"""Bytes of a value of each type; None where values differ."""
Struct = dict[int, Any]
Part = TypeVar("Part")


def contradiction(path: Path, metadata: pq.FileMetaData) -> str | None:
    """Find a contradiction between a file's footer and its schema, in a few words; None where there is none.

    Raises ValueError for a footer that is no Thrift, and OSError.
    """
    about = _Compact(_footer(path)).struct()
    schema = metadata.schema
    groups = _part(about, 4, list)
    if len(groups) != metadata.num_row_groups:
        return f"{len(groups):,} row groups, not {metadata.num_row_groups:,}"
    for number, group in enumerate(groups):
        columns = _part(group, 1, list)
        if len(columns) != len(schema):
            return f"row group {number} has {len(columns):,} columns, its schema {len(schema):,}"
        for at, column in enumerate(columns):
            why = _of_column(column, schema.column(at))
            if why is not None:
                return f"row group {number}: {schema.column(at).path} {why}"
    return None


def _of_column(column: Struct, schema: Any) -> str | None:
    about = _part(column, 3, dict)
    if not about or 8 in column or 9 in column:
        return "is encrypted, as no file of actkit's is"
    kind = about.get(1)
    if not isinstance(kind, int) or kind not in range(len(TYPES)) or TYPES[kind] != schema.physical_type:
        return "has another type than the schema says"
    sizes = _part(about, 16, dict)
    levels = {2: schema.max_repetition_level, 3: schema.max_definition_level}
    for name, level in levels.items():
        if len(_part(sizes, name, list)) not in (0, level + 1):
            return "counts levels that it does not have"
    if 1 in sizes and schema.physical_type != "BYTE_ARRAY":
        return "counts bytes of values that have none"
    width = WIDTHS[kind] or (schema.length if schema.physical_type == "FIXED_LEN_BYTE_ARRAY" else None)
    known = _part(about, 12, dict)
    ends = [known[name] for name in (1, 2, 5, 6) if isinstance(known.get(name), bytes)]
    if width is not None and any(len(end) != width for end in ends):
        return "has a smallest or largest value of another length"
    return None


def _part(of: Any, number: int, kind: type[Part]) -> Part:
    """A field of a struct; one of another kind is passed over, as Arrow does."""
    found = of.get(number) if isinstance(of, dict) else None
    return found if isinstance(found, kind) else kind()


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - AT_ONCE, 0))
        end = bytes(file.read())
        length = int.from_bytes(end[-TAIL:-4], "little")
        if length + TAIL > size:
            raise ValueError(f"a footer of {length:,} bytes in {size:,}")
        if length + TAIL > len(end):
            file.seek(size - TAIL - length)
            end = bytes(file.read())
        return end[-TAIL - length : -TAIL]


class _Compact:
    """Reads Thrift's compact protocol from bytes. What is not so raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, depth: int = 0) -> Struct:
        """The fields of a struct by their numbers."""
        if depth > DEEPEST:
            raise ValueError("a footer that is nested too deeply")
        found: Struct = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # a flag or a byte, within a list
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._number())
        if kind in (9, 10):
            head = self._byte()
            n = self._number() if head >> 4 == 15 else head >> 4
            if n > len(self._data):  # each value takes a byte at least
                raise ValueError("a list longer than the footer")
            return [self._value(head & 15, depth + 1) for _ in range(n)]
        if kind == 11:
            n = self._number()
            kinds = self._byte() if n else 0
            if n > len(self._data):
                raise ValueError("a map longer than the footer")
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(n)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a footer with an unknown type ({kind})")

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise ValueError("a footer that ends early")
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, n: int) -> bytes:
        if self._at + n > len(self._data):
            raise ValueError("a footer that ends early")
        self._at += n
        return self._data[self._at - n : self._at]

    def _number(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
            if shift > 63:
                raise ValueError("a footer with a number of too many bytes")

    def _signed(self) -> int:
        number = self._number()
        return (number >> 1) ^ -(number & 1)
