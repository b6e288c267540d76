"""Rows of Arrow's tables as records: what Parquet files, Arrow files and saved datasets have in common.

Arrow can hold what Python cannot: text that is no UTF-8, years beyond 9999. A row with such a value is rejected with
its column, and those around it are read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from actkit.errors import InputError
from actkit.pipeline.input.class_names import NamesIn, as_written
from actkit.pipeline.input.records import Record, Records, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 256
"""Rows in memory at once."""
UNREADABLE = (ValueError, OverflowError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Python errors that pyarrow raises for values that Python has no object for."""


def check_columns(names: list[str], path: str) -> None:
    """Raise InputError where two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0][:60]!r}", "rename one of them")


def records_of(batches: Iterable["pa.RecordBatch"], path: str, names: Mapping[str, NamesIn]) -> Records:
    """Each row of the batches, numbered through; the numbers of classes are replaced by their `names`."""
    index = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            for value, fault in _values(batch.slice(start, ROWS)):
                if fault is not None:
                    yield Rejected(index, path, None, *fault)
                else:
                    assert value is not None
                    yield Record(index, path, None, as_written(value, names))
                index += 1


def _values(batch: "pa.RecordBatch") -> Iterator[tuple[dict[str, Any] | None, tuple[str, str] | None]]:
    """Each row as a mapping, or the column that has no value in Python, and why."""
    import pyarrow as pa

    try:
        yield from [(row, None) for row in with_objects(batch.to_pylist(), batch.schema)]
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
                fault = name, f"a value that cannot be read: {said(error)}"
        yield (with_objects([row], batch.schema)[0], None) if fault is None else (None, fault)


def with_objects(rows: list[Any], schema: "pa.Schema") -> list[Any]:
    """The rows with an object for each map, as Spark writes objects, of which pyarrow makes lists of pairs."""
    return [_objects(row) for row in rows] if any("map<" in str(kind) for kind in schema.types) else rows


def _objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _objects(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):  # nothing else has tuples
        return {name: _objects(inner) for name, inner in value}
    return [_objects(item) for item in value] if isinstance(value, list) else value


def said(error: Exception) -> str:
    """The message of an error of pyarrow's, in one line."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
