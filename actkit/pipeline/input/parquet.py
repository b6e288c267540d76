"""Stage 1, records, out of a Parquet file: a row is a record."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.arrow_rows import ROWS, UNREADABLE, check_columns, records_of, said
from actkit.pipeline.input.class_names import of_schema
from actkit.pipeline.input.files import check_name, name_of
from actkit.pipeline.input.hub_files import HUB, hub_bytes
from actkit.pipeline.input.packed import FETCH, POINTER, packing_of
from actkit.pipeline.input.records import Records
from actkit.pipeline.input.zip_members import inside
from actkit.remote.reading import remote_bytes
from actkit.remote.url import file_name, scheme_of


def read_parquet(path: str, _read: ReadSpec) -> Records:
    """The rows of a Parquet file. Raises InputError where it cannot be read, or has two columns of one name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Pages that have a checksum are compared with it: else a flipped bit would be read as another number.
        # Without `pre_buffer=False` all of a file elsewhere is fetched before its first row is seen.
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
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        raise InputError(f"{name_of(path)}: not a readable Parquet file ({said(error)})", unpack_hint(path)) from error


@contextmanager
def seekable(path: str, what: str) -> Iterator[str | IO[Any]]:
    """Yield what pyarrow opens: a path, or a file of the hub. Raises InputError for what has no end to read from."""
    check_name(path)
    if path.startswith(HUB):
        with hub_bytes(path) as file:
            yield file
        return
    if scheme_of(path):
        with remote_bytes(path, seeks=True) as file:
            yield file
        return
    if (found := inside(path)) is not None:
        archive, member = found
        raise InputError(
            f"{name_of(path)}: {what} is not read inside an archive",
            f"unpack it: unzip {shlex.quote(archive)} {shlex.quote(member)}, and give {shlex.quote(member)}",
        )
    if Path(path).is_fifo():
        raise InputError(f"{name_of(path)}: {what} cannot be read from a pipe", "it is read from its end; give a file")
    yield path


def count_parquet(path: Path) -> int:
    """The number of rows by a file's footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def unpack_hint(path: str) -> str:
    """A hint for a file that pyarrow cannot read."""
    packing = packing_of(file_name(path), b"")
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return FETCH
    return "write the file again" if packing is None else f"unpack it: {packing.program} {shlex.quote(path)}"
