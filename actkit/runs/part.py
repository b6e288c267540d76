"""`open_part` opens a part of a run's table: the one place where Arrow reads a run's Parquet files.

A file may be damaged, or of somebody else's making. Some footers make Arrow end the process, and some files claim more
than any memory holds. So a file is checked once, before anything is read of it.
"""

import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.errors import RunError, in_short
from actkit.remote.path import RemotePath
from actkit.runs.plausible import implausible

UNREADABLE = (OSError, ValueError, EOFError, MemoryError, pa.ArrowException)
"""Errors of reading a damaged file: a damaged length may request any amount of memory."""
KNOWN = 1 << 16
"""Number of files whose check is remembered."""


def open_part(part: Path) -> pq.ParquetFile:
    """A part, to read its row groups and what its footer says of them.

    Raises RunError for what is no regular file or no Parquet, contradicts itself or claims too much; FileNotFoundError.
    """
    why = fault_of(part)
    if why is not None:
        hint = f"actkit verify {part.parent.parent} says what else is wrong with it"
        raise RunError(f"{part}: {in_short(why)}", hint)
    return pq.ParquetFile(part)


def fault_of(part: Path) -> str | None:
    """Why a part is not read, in a few words; None where nothing speaks against it. Raises FileNotFoundError."""
    changed, size = 0, 0
    if not isinstance(part, RemotePath):  # which nobody changes while it is read
        about = part.stat()
        if not stat.S_ISREG(about.st_mode):  # opening a pipe waits for whoever writes to it
            return "no regular file"
        changed, size = about.st_mtime_ns, about.st_size
    try:
        return _against(part, changed, size)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        return f"cannot be opened ({line(error)}; {part.stat().st_size:,} bytes)"


def line(error: Exception) -> str:
    """The first line of what went wrong."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def read_part(part: Path, columns: Sequence[str] | None = None, also: Sequence[str] = ()) -> pa.Table:
    """A part as a table; all of its columns, or those named, and of `also` those that are there.

    Raises what `open_part` does, and ArrowKeyError for a column that it lacks, which Arrow would pass over.
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
    """The columns of a part, and its metadata. Raises what `open_part` does."""
    with open_part(part) as file:
        return file.schema_arrow


def ranges_in(file: pq.ParquetFile, column: str) -> list[tuple[Any, Any] | None]:
    """A column's smallest and largest value in each row group, as the metadata has it; None where it does not."""
    at = file.metadata.schema.names.index(column)
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    known = (group.column(at).statistics for group in groups)
    return [(ends.min, ends.max) if ends is not None and ends.has_min_max else None for ends in known]


def ranges_of(part: Path, *columns: str) -> list[tuple[tuple[Any, Any] | None, ...]]:
    """The same of several columns, a tuple a row group; the part is opened for it once."""
    about = part.stat()
    return _ranges(part, columns, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=KNOWN)
def _ranges(part: Path, columns: Sequence[str], _changed: int, _bytes: int) -> list[tuple[tuple[Any, Any] | None, ...]]:
    with open_part(part) as file:
        return list(zip(*(ranges_in(file, column) for column in columns), strict=True))


@lru_cache(maxsize=KNOWN)
def _against(part: Path, _changed: int, _bytes: int) -> str | None:
    """Why a file is not read; `_changed` and `_bytes` tell it from another that is put in its place."""
    return implausible(part, pq.read_metadata(part))
