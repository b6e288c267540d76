"""Turn many chunks, each in order of feature, into ranges of about `size` entries in order of feature over all chunks.

1. Cut the features into ranges. A feature with more entries than a range comes in slices.
2. With up to FAN chunks, read the entries of a range from each chunk, and order them by a counting sort.
3. With N chunks, more than that, a range has very few entries in each, and there are about N ranges: N² reads, a day
   for 5·10¹⁰ entries. So FAN ranges at a time make a band. Merge the band's entries of all chunks into about FAN chunks
   of that band alone, in a temporary file, and read its ranges from these. A feature with more entries than a band is
   read from all chunks, each of them once.

Within a feature, entries stay in the order of the chunks. Memory holds a range, and the disk a band in addition to the
chunks, however many there are.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Ints

FAN = 512
"""The most chunks that a range is read from, and ranges of a band: its file takes 9 GB at 16 bytes an entry."""
Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]
Span: TypeAlias = tuple[int, int, int]
"""The first feature of a range, the one after its last, and its entries."""


class SortedEntries(Protocol):
    """Entries in order of feature, wherever they are kept."""

    def starts(self, first: int, last: int) -> npt.NDArray[np.integer]:
        """[last - first + 1] where the entries of each feature from `first` on begin, and those of `last - 1` end."""

    def entries(self, begin: int, end: int) -> Arrays:
        """Arrays [end - begin] about the entries from `begin` to `end`, the same kinds in every chunk."""


def ranges(
    chunks: Sequence[SortedEntries], counts: Ints, size: int, scratch: Path
) -> Iterator[tuple[npt.NDArray[np.int32], Arrays]]:
    """Yield features [n], ascending, and the arrays [n] of their entries, range by range; `counts` [features] in all.

    Raises WriteError where a band's file in `scratch` cannot be written.
    """
    for band in _bands(list(spans(counts, size)), size):
        if len(chunks) <= FAN or len(band) == 1:
            yield from _of_spans(chunks, band, size)
            continue
        with closing(Spill(scratch)) as file:
            own = list(_of_band(chunks, band[0][0], band[-1][1], size, file))
            yield from _of_spans(own, band, size)


def spans(counts: Ints, size: int) -> Iterator[Span]:
    """Yield the ranges; a range of more than `size` entries has a single feature."""
    ends = np.cumsum(counts)
    first, before = 0, 0
    while first < len(counts):
        last = max(int(np.searchsorted(ends, before + size, side="right")), first + 1)
        n = int(ends[last - 1]) - before
        if n:
            yield first, last, n
        first, before = last, before + n


def _bands(every: Sequence[Span], size: int) -> Iterator[list[Span]]:
    """Yield consecutive ranges with FAN × `size` entries or fewer; a range that alone has more is a band of its own."""
    band: list[Span] = []
    n = 0
    for span in every:
        if band and n + span[2] > FAN * size:
            yield band
            band, n = [], 0
        band.append(span)
        n += span[2]
    if band:
        yield band


def _of_spans(
    chunks: Sequence[SortedEntries], band: Sequence[Span], size: int
) -> Iterator[tuple[npt.NDArray[np.int32], Arrays]]:
    for first, last, n in band:
        if n <= size:
            yield _gathered(chunks, first, last)
        else:
            for arrays in _slices(chunks, first, size):
                yield np.full(len(arrays[0]), first, dtype=np.int32), arrays


def _gathered(chunks: Sequence[SortedEntries], first: int, last: int) -> tuple[npt.NDArray[np.int32], Arrays]:
    """Gather all entries of the features from `first` up to, not including, `last`, in order of feature."""
    ids, found = [], []
    for chunk in chunks:
        starts = chunk.starts(first, last)
        if starts[-1] > starts[0]:
            ids.append(np.repeat(np.arange(first, last, dtype=np.int32), np.diff(starts)))
            found.append(chunk.entries(int(starts[0]), int(starts[-1])))
    every = np.concatenate(ids)
    n = len(every)
    # A matrix of one row in compressed columns is a stable counting sort.
    row = csr_array((np.arange(n, dtype=np.int32), every - first, np.array([0, n])), shape=(1, last - first))
    order = row.tocsc().data
    return every[order], tuple(np.concatenate(arrays)[order] for arrays in zip(*found, strict=True))


def _slices(chunks: Sequence[SortedEntries], feature: int, size: int) -> Iterator[Arrays]:
    """Yield the entries of one feature, `size` at a time."""
    waiting: list[Arrays] = []
    room = size
    for chunk in chunks:
        begin, end = (int(place) for place in chunk.starts(feature, feature + 1))
        while begin < end:
            here = min(end - begin, room)
            waiting.append(chunk.entries(begin, begin + here))
            begin, room = begin + here, room - here
            if not room:
                yield tuple(map(np.concatenate, zip(*waiting, strict=True)))
                waiting, room = [], size
    if waiting:
        yield tuple(map(np.concatenate, zip(*waiting, strict=True)))


@dataclass(frozen=True)
class _BandChunk:
    """About `size` entries of a band, in its file."""

    file: Spill
    first: int
    """The band's first feature."""
    starts_at: int
    arrays: tuple[tuple[int, np.dtype[Any]], ...]
    """The byte where each array begins, and its type."""

    def starts(self, first: int, last: int) -> npt.NDArray[np.integer]:
        return self.file.read(self.starts_at + 4 * (first - self.first), last - first + 1, np.int32)

    def entries(self, begin: int, end: int) -> Arrays:
        return tuple(self.file.read(at + begin * kind.itemsize, end - begin, kind) for at, kind in self.arrays)


def _of_band(chunks: Sequence[SortedEntries], first: int, last: int, size: int, file: Spill) -> Iterator[_BandChunk]:
    """Yield the entries of the features from `first` up to, not including, `last`, in chunks of about `size`."""
    some: list[SortedEntries] = []
    n = 0
    for number, chunk in enumerate(chunks):
        here = int(chunk.starts(last, last)[0] - chunk.starts(first, first)[0])
        if here:
            some.append(chunk)
            n += here
        if some and (n >= size or number == len(chunks) - 1):
            ids, arrays = _gathered(some, first, last)
            starts = np.searchsorted(ids, np.arange(first, last + 1)).astype(np.int32)
            begin = file.write(starts)
            yield _BandChunk(file, first, begin, tuple((file.write(array), array.dtype) for array in arrays))
            some, n = [], 0
