"""`contradiction` reads a Parquet file's footer without Arrow, and finds what would make Arrow 26 end the process.

Where a row group's metadata contradicts the schema, C++ throws an exception that `RowGroupMetaData.column` and
`ColumnChunkMetaData.statistics` let through, which aborts the process. Whoever opens a file that may be damaged calls
`contradiction` first. The footer is a struct in Thrift's compact protocol, followed by its length and `PAR1`; field
numbers are those of `parquet.thrift` (apache/parquet-format).
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from actkit.runs.thrift import Compact, Struct

TAIL = 8
"""Bytes of the length and the magic after the footer."""
AT_ONCE = 1 << 16
"""Bytes that are read from a file's end, in the hope that its footer is in them: one elsewhere is asked once."""
TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
WIDTHS = (1, 4, 8, 12, 4, 8, None, None)
"""Bytes of a value of each type; None where values differ."""
Part = TypeVar("Part")


def contradiction(path: Path, metadata: pq.FileMetaData) -> str | None:
    """Find a contradiction between a file's footer and its schema, in a few words; None where there is none.

    Raises ValueError for a footer that is no Thrift, and OSError.
    """
    about = Compact(_footer(path)).struct()
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
