"""Stage 1, records, from Arrow tables: Parquet, `.arrow` and `.feather`, and folders that `save_to_disk` writes.

A row is a record. Arrow can hold values that Python cannot: text that is not UTF-8, years beyond 9999. A row with such
a value is rejected, with the column; the rows around it are read.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from actkit.config import ReadSpec
from actkit.errors import InputError, first_line
from actkit.pipeline.input.class_names import NamesIn, as_written, of_features, of_schema
from actkit.pipeline.input.files import check_name, name_of
from actkit.pipeline.input.hub_files import HUB, hub_bytes
from actkit.pipeline.input.packed import FETCH, POINTER, packing_of
from actkit.pipeline.input.records import Record, Records, Rejected
from actkit.pipeline.input.zip_members import inside
from actkit.remote.reading import remote_bytes
from actkit.remote.url import file_name, scheme_of

if TYPE_CHECKING:
    import pyarrow as pa
ROWS = 256
"""Rows in memory at once."""
UNREADABLE = (ValueError, OverflowError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Errors that pyarrow raises for values that no Python object can hold."""
FILE = b"ARROW1"
"""The beginning of an Arrow file, which is read from its end; a stream, such as the cache of `datasets`, has none."""
SAVED = ("state.json", "dataset_dict.json")
"""Files by which a folder written by `Dataset.save_to_disk`, or `DatasetDict`'s, is known."""
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files in which `datasets` describes the files around them; they hold no records."""


def read_parquet(path: str, _read: ReadSpec) -> Records:
    """Read the rows of a Parquet file. Raises InputError where it cannot be read, or two columns have one name."""
    import pyarrow.parquet as pq

    # Pages are compared with their checksums, if they have any: else a flipped bit would be read as another number.
    # Without `pre_buffer=False` a remote file is fetched as a whole before its first row is read.
    checked = {"page_checksum_verification": True, "pre_buffer": False}
    with seekable(path, "Parquet") as where, pq.ParquetFile(where, **checked) as file:
        check_columns(file.schema_arrow.names, name_of(path))
        rows = 0
        names = of_schema(file.schema_arrow.metadata)
        for record in records_of(file.iter_batches(batch_size=ROWS), name_of(path), names):
            yield record
            rows += 1
        if rows != file.metadata.num_rows:
            raise InputError(
                f"{name_of(path)}: {rows:,} rows where its footer says {file.metadata.num_rows:,}",
                "write the file again",
            )


def read_arrow(path: str, _read: ReadSpec) -> Records:
    """Read the rows of an Arrow file or stream. Raises InputError as `read_parquet`."""
    import pyarrow as pa

    with (
        seekable(path, "Arrow") as where,
        pa.memory_map(where) if isinstance(where, str) else pa.PythonFile(where, mode="r") as file,
    ):
        is_file = file.read(len(FILE)) == FILE
        file.seek(0)
        with pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file) as reader:
            check_columns(reader.schema.names, name_of(path))
            batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
            yield from records_of(batches, name_of(path), of_schema(reader.schema.metadata))


@contextmanager
def seekable(path: str, what: str) -> Iterator[str | IO[Any]]:
    """Yield a file in the format `what` as pyarrow opens it: a path, or the bytes of a remote file.

    Raises InputError for a pipe, for a file in an archive, and for pyarrow's errors while the caller reads.
    """
    import pyarrow as pa

    check_name(path)
    is_hub, is_elsewhere = path.startswith(HUB), scheme_of(path) is not None
    if not is_hub and not is_elsewhere:
        if (found := inside(path)) is not None:
            archive, member = found
            raise InputError(
                f"{name_of(path)}: {what} is not read inside an archive",
                f"unpack it: unzip {shlex.quote(archive)} {shlex.quote(member)}, and give {shlex.quote(member)}",
            )
        if Path(path).is_fifo():
            raise InputError(
                f"{name_of(path)}: {what} cannot be read from a pipe", "it is read from its end; give a file"
            )
    elsewhere = hub_bytes(path) if is_hub else remote_bytes(path, seeks=True) if is_elsewhere else nullcontext(path)
    try:
        with elsewhere as where:
            yield where
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        reason = f"not a readable {what} file ({first_line(error)})"
        raise InputError(f"{name_of(path)}: {reason}", unpack_hint(path)) from error


def count_parquet(path: Path) -> int:
    """Return the number of rows by a file's footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def count_arrow(path: Path) -> int | None:
    """Return the number of rows of a file; None for a stream, which does not store it."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        if file.read(len(FILE)) != FILE:
            return None
        file.seek(0)
        with pa.ipc.open_file(file) as reader:
            return int(sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches)))


def unpack_hint(path: str) -> str:
    """Return a hint for a file that pyarrow cannot read."""
    packing = packing_of(file_name(path), b"")
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return FETCH
    return "write the file again" if packing is None else f"unpack it: {packing.program} {shlex.quote(path)}"


def check_columns(names: list[str], path: str) -> None:
    """Raise InputError where two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0][:60]!r}", "rename one of them")


def records_of(batches: Iterable["pa.RecordBatch"], path: str, names: Mapping[str, NamesIn]) -> Records:
    """Yield each row of the batches, numbered consecutively; `names` replace the numbers of classes."""
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
    """Yield each row as a mapping, or the column whose value Python cannot hold, with the reason."""
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
                fault = name, f"a value that cannot be read: {first_line(error)}"
        yield (with_objects([row], batch.schema)[0], None) if fault is None else (None, fault)


def with_objects(rows: list[Any], schema: "pa.Schema") -> list[Any]:
    """Make an object of each map in the rows: Spark writes objects as maps, which pyarrow reads as lists of pairs."""
    return [_objects(row) for row in rows] if any("map<" in str(kind) for kind in schema.types) else rows


def _objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _objects(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):  # nothing else has tuples
        return {name: _objects(inner) for name, inner in value}
    return [_objects(item) for item in value] if isinstance(value, list) else value


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder / name).is_file() for name in SAVED)


def read_saved(path: str, read: ReadSpec) -> Records:
    """Read the rows of a dataset that `save_to_disk` wrote, mapped into memory.

    Raises InputError for a missing split, and for a folder that `datasets` cannot read.
    """
    import datasets

    folder = Path(path)
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(entry.name for entry in folder.iterdir() if is_saved(entry))
        if read.split not in splits:
            raise InputError(f"{path}: there is no split {read.split}", f"--split names one of {', '.join(splits)}")
        folder = folder / read.split
    try:
        dataset = datasets.load_from_disk(str(folder))
        names = of_features(dataset.features.to_dict())
        yield from records_of(_batches(dataset), path, names)
    except InputError:
        raise
    except Exception as error:  # whatever datasets or pyarrow raise about a damaged folder
        raise InputError(
            f"{name_of(path)}: not a readable dataset of save_to_disk ({first_line(error)})", "save the dataset again"
        ) from error


def _batches(dataset: Any) -> Iterator[Any]:
    for table in dataset.with_format("arrow").iter(batch_size=ROWS):
        yield from table.to_batches()
