"""Stage 1, records, out of Arrow's own files (`.arrow`, `.feather`), and of folders that `save_to_disk` writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.class_names import of_features, of_schema
from actkit.pipeline.input.files import name_of
from actkit.pipeline.input.parquet import ROWS, UNREADABLE, check_columns, records_of, said, seekable, unpack_hint
from actkit.pipeline.input.records import Records

FILE = b"ARROW1"
"""How a file of Arrow's begins that can be read from its end; a stream, as `datasets` caches them, has no mark."""
SAVED = ("state.json", "dataset_dict.json")
"""By which of its files a folder is known to be one that `Dataset.save_to_disk` wrote, or `DatasetDict`'s."""
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files in which `datasets` says what lies beside them: no records."""


def read_arrow(path: str, _read: ReadSpec) -> Records:
    """The rows of an Arrow file or stream. Raises InputError where it cannot be read."""
    import pyarrow as pa

    try:
        with seekable(path, "Arrow") as where:
            file = pa.memory_map(where) if isinstance(where, str) else pa.PythonFile(where, mode="r")
            with file:
                yield from _rows(file, path)
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        raise InputError(f"{name_of(path)}: not a readable Arrow file ({said(error)})", unpack_hint(path)) from error


def _rows(file: Any, path: str) -> Records:
    import pyarrow as pa

    is_file = file.read(len(FILE)) == FILE
    file.seek(0)
    reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
    with reader:
        check_columns(reader.schema.names, name_of(path))
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
        yield from records_of(batches, name_of(path), of_schema(reader.schema.metadata))


def count_arrow(path: Path) -> int | None:
    """The number of rows of a file; None for a stream, which does not say it."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        if file.read(len(FILE)) != FILE:
            return None
        file.seek(0)
        with pa.ipc.open_file(file) as reader:
            return int(sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches)))


def is_saved(folder: Path) -> bool:
    """Whether a folder is one that `save_to_disk` wrote."""
    return any((folder / name).is_file() for name in SAVED)


def read_saved(path: str, read: ReadSpec) -> Records:
    """The rows of a dataset that `save_to_disk` wrote, mapped into memory.

    Raises InputError for a split that is not there, and for a folder that `datasets` cannot read.
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
    except Exception as error:  # whatever datasets or pyarrow raise about a damaged folder
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name_of(path)}: not a readable dataset of save_to_disk ({said(error)})", "save the dataset again"
        ) from error


def _batches(dataset: Any) -> Iterator[Any]:
    for table in dataset.with_format("arrow").iter(batch_size=ROWS):
        yield from table.to_batches()
