"""Read vectors straight from the pages of a Parquet file, as fast as memory is copied.

actkit stores vectors plainly: no compression, no dictionary, no nulls. Such a page holds two short runs of list levels
and then the array itself. Arrow still decodes the levels value by value, which takes several times as long as copying.
So this module reads the pages' headers and copies plain pages; for any other page the caller uses Arrow.

Source: the Parquet format's specification (data pages of version 1, headers in Thrift's compact protocol).
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from actkit.remote.path import RemotePath
from actkit.runs.thrift import Compact

DATA_PAGE, PLAIN = 0, 0
TYPE, COMPRESSED_SIZE, DATA_HEADER = 1, 3, 5
N_VALUES, ENCODING = 1, 2
"""Fields of the headers, and values of them, by their numbers in the specification."""
LONGEST = 1 << 12
"""Most bytes of a page's header."""
KINDS: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2")}


def vectors(path: Path, metadata: pq.FileMetaData, group: int, column: str) -> npt.NDArray[Any] | None:
    """[n * width] float32 or float16: the values of a list column in one row group; None where they are not plain.

    None for a damaged file too, of which Arrow then says what is wrong.
    """
    if isinstance(path, RemotePath):  # a remote file cannot be mapped into memory
        return None
    found = _chunk(metadata.row_group(group), column)
    try:
        return None if found is None else _copied(path, *found)
    except ValueError:
        return None


def _copied(path: Path, about: Any, kind: np.dtype[Any]) -> npt.NDArray[Any] | None:
    values = np.empty(about.num_values, dtype=kind)
    done = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = about.data_page_offset
        for page in _pages(mapped, start, start + about.total_compressed_size, kind):
            if page is None or done + len(page) > len(values):
                return None
            values[done : done + len(page)] = page
            done += len(page)
            del page  # the file cannot be unmapped while an array refers to it
    return values if done == len(values) else None


def _chunk(group: Any, column: str) -> tuple[Any, np.dtype[Any]] | None:
    """The metadata of the column, and the type of its numbers; None where only Arrow can read it."""
    for number in range(group.num_columns):
        about = group.column(number)
        if about.path_in_schema.partition(".")[0] == column:
            plain = about.compression == "UNCOMPRESSED" and not about.has_dictionary_page
            known = about.statistics is None or about.statistics.null_count in (0, None)
            if plain and known and about.physical_type in KINDS:
                return about, KINDS[about.physical_type]
    return None


def _pages(mapped: mmap.mmap, at: int, end: int, kind: np.dtype[Any]) -> Iterator[npt.NDArray[Any] | None]:
    """The values of each data page; None, and the end, at a page that is not plain values after their levels."""
    while at < end:
        reader = Compact(mapped[at : at + LONGEST])
        header = reader.struct()
        at += reader.at
        data, size = header.get(DATA_HEADER), header.get(COMPRESSED_SIZE)
        if header.get(TYPE) != DATA_PAGE or not isinstance(data, dict) or data.get(ENCODING) != PLAIN:
            yield None
            return
        first = at
        for _ in ("repetition levels", "definition levels"):
            first += 4 + int.from_bytes(mapped[first : first + 4], "little")
        n = data.get(N_VALUES)
        # With nulls or empty lists there are fewer values than levels, and the sizes do not agree.
        if not isinstance(size, int) or not isinstance(n, int) or n <= 0 or at + size - first != n * kind.itemsize:
            yield None
            return
        at += size
        yield np.frombuffer(mapped, dtype=kind, count=n, offset=first)
