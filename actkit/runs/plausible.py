"""Check that a Parquet file can be read: its footer agrees with its schema, and claims no more than its bytes can hold.

Where a row group's metadata contradicts the schema, C++ of Arrow 26 throws an exception that `RowGroupMetaData.column`
and `ColumnChunkMetaData.statistics` do not catch, which ends the process. So `contradiction` reads the footer without
Arrow: a struct in Thrift's compact protocol, followed by its length and `PAR1`. Field numbers are those of
`parquet.thrift` (apache/parquet-format).

actkit stores vectors, ids and texts plainly, and uses dictionaries for names alone. A footer of others can claim
anything. Equal values in a row take almost no space, so a few bytes may decode to any number of values.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from actkit.runs.thrift import Compact, Struct
from actkit.runs.writer import DICTIONARY

ALWAYS = 128 << 20
"""Bytes in memory that a column of one row group may have, however small it is on disk."""
RATIO = 64
"""Most bytes in memory per byte on disk, for larger columns."""
REPEATED = 1 << 30
"""Most bytes in memory of a column with a dictionary that no run has: each value may be all of it."""
NEVER_NULL = ("sequence_id", "position")
"""Columns without nulls in every table: conversion to numpy would turn a null into some number."""
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "INT96": 12, "FIXED_LEN_BYTE_ARRAY": 2}
TAIL = 8
"""Bytes of the length and the magic after the footer."""
AT_ONCE = 1 << 16
"""Bytes that are read from a file's end first: they usually hold the footer, so a remote file takes one request."""
TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
BYTES_EACH = (1, 4, 8, 12, 4, 8, None, None)
"""Bytes of a value of each type; None where it varies."""
Part = TypeVar("Part")


def implausible(path: Path, metadata: pq.FileMetaData) -> str | None:
    """Say in a few words why a file must not be read; None where it may be.

    `metadata` is its footer as Arrow reads it. Raises ValueError for a damaged footer, and OSError.
    """
    why = contradiction(path, metadata)
    if why is not None:
        return why
    rows = 0
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        rows += about.num_rows
        if about.num_rows < 0:
            return f"row group {group} claims {about.num_rows:,} rows"
        for number in range(about.num_columns):
            why = _of_column(about.column(number), about.num_rows)
            if why is not None:
                return f"row group {group}: {why}"
    return None if rows == metadata.num_rows else f"its row groups have {rows:,} rows, it claims {metadata.num_rows:,}"


def _of_column(column: pq.ColumnChunkMetaData, rows: int) -> str | None:
    name, size = column.path_in_schema, column.total_compressed_size
    if min(column.num_values, size, column.total_uncompressed_size) < 0:
        return f"{name} claims sizes below zero"
    about = column.statistics if name in NEVER_NULL else None
    if about is not None and about.has_null_count and about.null_count:
        return f"nulls in the column {name}"
    wide = max(column.num_values, rows) * WIDTHS.get(column.physical_type, 1)
    if column.physical_type == "BYTE_ARRAY":
        wide = max(wide, column.total_uncompressed_size)
        if column.has_dictionary_page:
            most = column.num_values * column.total_uncompressed_size
            if name.partition(".")[0] not in DICTIONARY and most > REPEATED:
                return f"{name} has a dictionary, as no file of actkit's has, whose values may be any number of bytes"
            if column.total_uncompressed_size > ALWAYS:
                return f"{name} claims a dictionary of {column.total_uncompressed_size:,} bytes"
    if wide > max(ALWAYS, RATIO * size):
        return f"{name} claims {wide:,} bytes in {size:,}, too many to be read"
    return None


def contradiction(path: Path, metadata: pq.FileMetaData) -> str | None:
    """Describe a contradiction between a file's footer and its schema, in a few words; None where there is none.

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
            why = _contradiction_of(column, schema.column(at))
            if why is not None:
                return f"row group {number}: {schema.column(at).path} {why}"
    return None


def _contradiction_of(column: Struct, schema: Any) -> str | None:
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
    width = BYTES_EACH[kind] or (schema.length if schema.physical_type == "FIXED_LEN_BYTE_ARRAY" else None)
    known = _part(about, 12, dict)
    ends = [known[name] for name in (1, 2, 5, 6) if isinstance(known.get(name), bytes)]
    if width is not None and any(len(end) != width for end in ends):
        return "has a smallest or largest value of another length"
    return None


def _part(of: Any, number: int, kind: type[Part]) -> Part:
    """A field of a struct; empty where it is missing or of another kind, which Arrow passes over too."""
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
