"""Stage 1, records, out of a Parquet file: a row is a record.

Parquet can hold what Python cannot: text that is no UTF-8, years beyond 9999, names that stand twice. A row with such a
value is rejected with its column, and those around it are read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actkit.errors import InputError
from actkit.pipeline.data import Record, Records, Rejected
from actkit.pipeline.input.files import check_name

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 256
"""Rows in memory at once."""
UNREADABLE = (ValueError, OverflowError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What pyarrow raises beside its own errors for values that Python has no object for."""


def read_parquet(path: str) -> Records:
    """The rows of a Parquet file. Raises InputError where it cannot be read, or has two columns of one name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_name(path)
    if Path(path).is_fifo():
        raise InputError(f"{path}: a Parquet file cannot be read from a pipe", "it is read from its end; give a file")
    try:
        # Pages that have a checksum are held against it: else a flipped bit would be read as another number.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from _rows(path, file)
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        raise InputError(f"{path}: not a readable Parquet file ({_said(error)})", _hint(path)) from error


def _rows(path: str, file: "pq.ParquetFile") -> Records:
    columns = file.schema_arrow.names
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0][:60]!r}", "rename one of them")
    index = 0
    for batch in file.iter_batches(batch_size=ROWS):
        for value, fault in _values(batch):
            if fault is None:
                yield Record(index, path, None, value)
            else:
                yield Rejected(index, path, None, *fault)
            index += 1
    if index != file.metadata.num_rows:
        raise InputError(
            f"{path}: {index:,} rows where its footer says {file.metadata.num_rows:,}", "write the file again"
        )


def _values(batch: "pa.RecordBatch") -> Iterator[tuple[dict[str, Any] | None, tuple[str, str] | None]]:
    """Each row as a mapping, or the column that has no value in Python, and why."""
    import pyarrow as pa

    try:
        yield from [(row, None) for row in batch.to_pylist()]
        return
    except (pa.ArrowException, *UNREADABLE):
        pass
    for number in range(batch.num_rows):
        row: dict[str, Any] = {}
        fault = None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                row[name] = column[number].as_py()
            except UnicodeDecodeError:
                fault = name, "not valid UTF-8"
            except (pa.ArrowException, *UNREADABLE) as error:
                fault = name, f"a value that cannot be read: {_said(error)}"
        yield (row, None) if fault is None else (None, fault)


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _hint(path: str) -> str:
    if path.lower().endswith(".gz"):
        return "a Parquet file is compressed inside; unpack this one with gunzip"
    return "write the file again"
