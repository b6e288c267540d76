"""Vectors straight from the pages of a Parquet file, as fast as memory is copied.

actkit stores vectors plainly: no compression, no dictionary, no nulls. What such a page holds after two short runs of
list levels is the array itself. Arrow decodes the levels value by value all the same, which costs several times what
copying does. So the pages' headers are read here, and where a page is anything else, Arrow does it.

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

DATA_PAGE, PLAIN = 0, 0
TYPE, COMPRESSED_SIZE, DATA_HEADER = 1, 3, 5
N_VALUES, ENCODING = 1, 2
"""Fields of the headers, by their numbers in the specification."""
KINDS: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2")}


def vectors(path: Path, metadata: pq.FileMetaData, group: int, column: str) -> npt.NDArray[Any] | None:
    """[n * width] float32 or float16: the values of a list column in one row group; None where they are not plain.

    None too for a damaged file: Arrow knows how to say so.
    """
    if isinstance(path, RemotePath):  # which cannot be mapped into memory
        return None
    found = _chunk(metadata.row_group(group), column)
    try:
        return None if found is None else _copied(path, *found)
    except (IndexError, ValueError):
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
            del page  # the file cannot be unmapped while an array looks at it
    return values if done == len(values) else None


def _chunk(group: Any, column: str) -> tuple[Any, np.dtype[Any]] | None:
    """What the metadata says of the column, and its numbers' type; None where Arrow is needed to read it."""
    for number in range(group.num_columns):
        about = group.column(number)
        if about.path_in_schema.partition(".")[0] == column:
            plain = about.compression == "UNCOMPRESSED" and not about.has_dictionary_page
            known = about.statistics is None or about.statistics.null_count in (0, None)
            if plain and known and about.physical_type in KINDS:
                return about, KINDS[about.physical_type]
    return None


def _pages(mapped: mmap.mmap, at: int, end: int, kind: np.dtype[Any]) -> Iterator[npt.NDArray[Any] | None]:
    """The values of each data page; None for one that holds anything but plain values and their levels."""
    while at < end:
        header, at = _struct(mapped, at)
        data, size = header.get(DATA_HEADER), header.get(COMPRESSED_SIZE, 0)
        if header.get(TYPE) != DATA_PAGE or data is None or data.get(ENCODING) != PLAIN:
            yield None
            return
        first = at
        for _ in ("repetition levels", "definition levels"):
            first += 4 + int.from_bytes(mapped[first : first + 4], "little")
        at += size
        n = data.get(N_VALUES, -1)
        # Were there nulls, or empty lists, there would be fewer values than levels.
        if n <= 0 or size <= 0 or at - first != n * kind.itemsize:
            yield None
            return
        yield np.frombuffer(mapped, dtype=kind, count=n, offset=first)


def _varint(mapped: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = mapped[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _struct(mapped: mmap.mmap, at: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: field number → value, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := mapped[at] & 0x0F:
        step = mapped[at] >> 4
        at += 1
        if step:
            number += step
        else:
            zigzag, at = _varint(mapped, at)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        fields[number], at = (kind == 1, at) if kind in (1, 2) else _value(mapped, at, kind)
    return fields, at + 1


def _value(mapped: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind in (4, 5, 6):  # integers, zigzag
        value, at = _varint(mapped, at)
        return (value >> 1) ^ -(value & 1), at
    if kind == 8:  # bytes
        length, at = _varint(mapped, at)
        return None, at + length
    if kind == 12:
        return _struct(mapped, at)
    if kind in (1, 2, 3):  # a truth value in a list, or a byte
        return None, at + 1
    if kind == 7:
        return None, at + 8
    if kind in (9, 10):
        length, inner = mapped[at] >> 4, mapped[at] & 0x0F
        at += 1
        if length == 15:
            length, at = _varint(mapped, at)
        for _ in range(length):
            _, at = _value(mapped, at, inner)
        return None, at
    raise ValueError(f"a page's header has a field of kind {kind}")
