"""`open_part` opens a part of a run's table: the one place where Arrow reads a run's Parquet files.

A file may be damaged, or not written by actkit. Some footers make Arrow end the process, and some files claim more
than any memory holds. So each file is checked once, before Arrow reads from it.
"""

import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.errors import RunError, first_line, in_short
from actkit.remote.path import RemotePath
from actkit.runs.plausible import implausible

UNREADABLE = (OSError, ValueError, EOFError, MemoryError, pa.ArrowException)
"""Errors of reading a damaged file. MemoryError: a damaged length may request any amount of memory."""
KNOWN = 1 << 16
"""Number of files whose check is remembered."""


def open_part(part: Path) -> pq.ParquetFile:
    """Open a part, to read its row groups and its footer.

    Raises RunError for a file that is not regular or not Parquet, contradicts itself or claims too much memory;
    FileNotFoundError.
    """
    found = open_or_fault(part)
    if isinstance(found, str):
        hint = f"actkit verify {part.parent.parent} says what else is wrong with it"
        raise RunError(f"{part}: {in_short(found)}", hint)
    return found


def open_or_fault(part: Path) -> pq.ParquetFile | str:
    """Open a part, or say in a few words why it must not be read. Raises FileNotFoundError."""
    changed, size = 0, 0
    if not isinstance(part, RemotePath):  # remote files seldom change while they are read, and asking takes a request
        about = part.stat()
        if not stat.S_ISREG(about.st_mode):  # opening a pipe waits for a writer
            return "no regular file"
        changed, size = about.st_mtime_ns, about.st_size
    try:
        return _against(part, changed, size) or pq.ParquetFile(part)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        return f"cannot be opened ({first_line(error, 200)}; {part.stat().st_size:,} bytes)"


def read_part(part: Path, columns: Sequence[str] | None = None, also: Sequence[str] = ()) -> pa.Table:
    """Read a part as a table: all columns, or `columns` and those of `also` that are there.

    Raises what `open_part` does, and ArrowKeyError for a missing column, which Arrow alone would pass over.
    """
    with open_part(part) as file:
        if columns is None:
            return file.read()
        there = file.schema_arrow.names
        lacking = [name for name in columns if name not in there]
        if lacking:
            raise pa.ArrowKeyError(f"{part} has no column {lacking[0]!r}")
        return file.read([*columns, *(name for name in also if name in there)])


def schema_of_part(part: Path) -> pa.Schema:
    """Read the schema of a part, with its metadata. Raises what `open_part` does."""
    with open_part(part) as file:
        return file.schema_arrow


def ranges_in(file: pq.ParquetFile, column: str) -> list[tuple[Any, Any] | None]:
    """The smallest and largest value of a column in each row group, from the metadata; None where it has none."""
    at = file.metadata.schema.names.index(column)
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    known = (group.column(at).statistics for group in groups)
    return [(ends.min, ends.max) if ends is not None and ends.has_min_max else None for ends in known]


def ranges_of(part: Path, *columns: str) -> list[tuple[tuple[Any, Any] | None, ...]]:
    """`ranges_in` for several columns, a tuple for each row group; an unchanged part is opened only once."""
    about = part.stat()
    return _ranges(part, columns, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=KNOWN)
def _ranges(part: Path, columns: Sequence[str], _changed: int, _bytes: int) -> list[tuple[tuple[Any, Any] | None, ...]]:
    with open_part(part) as file:
        return list(zip(*(ranges_in(file, column) for column in columns), strict=True))


@lru_cache(maxsize=KNOWN)
def _against(part: Path, _changed: int, _bytes: int) -> str | None:
    """`implausible`, remembered; `_changed` and `_bytes` distinguish a file from its replacement."""
    return implausible(part, pq.read_metadata(part))
