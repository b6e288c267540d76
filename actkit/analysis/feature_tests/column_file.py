"""Sorts a run's pooled features by column into a temporary file, and reads a block of columns at a time."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.analysis.columns import Columns, Floats, Ints, Part, checked
from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import active_in, parts, places, sae_groups

BLOCK = 1 << 18
"""Nonzeros of a block: a float64 array of them takes 2 MB, and some forty such arrays exist at the peak."""
CHANGED = "the parts of a matrix were not the same the second time"
NONZERO = np.dtype([("row", "<i4"), ("column", "<i4"), ("value", "<f4")])


class ColumnFile:
    """A sparse matrix [n_rows, n_columns] in a temporary file, in which a nonzero takes 12 bytes.

    A block of columns with about `BLOCK` nonzeros is in memory at a time. `close` removes the file.
    """

    def __init__(self, parts: Callable[[], Iterable[Part]], n_rows: int, n_columns: int, folder: Path) -> None:
        """Read `parts` twice, to count and to sort, with one part in memory at a time. Explicit zeros are left out.

        The file is made in `folder`. Raises ValueError where `checked` does, and for parts that differ the second time;
        WriteError where the disk is full.
        """
        self.n_rows, self.n_columns = n_rows, n_columns
        counts = np.zeros(n_columns, dtype=np.int64)
        for part in parts():
            counts += np.bincount(checked(part, n_rows, n_columns)[1], minlength=n_columns)
        self._starts: Ints = np.concatenate([[0], np.cumsum(counts)])
        self._blocks = list(_blocks(self._starts))
        self._spill = Spill(folder)
        try:
            self._fill(parts)
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[tuple[int, Columns]]:
        """Yield each block's first column, and the block. Raises ValueError for two values at one place."""
        for first, last in self._blocks:
            found = self._read(first, last)
            columns = Columns.of((found["row"], found["column"] - first, found["value"]), self.n_rows, last - first)
            del found
            if not np.array_equal(columns.starts, self._starts[first : last + 1] - self._starts[first]):
                raise ValueError(CHANGED)
            yield first, columns

    def column(self, j: int) -> Floats:
        """Return column `j` [n_rows], zeros included."""
        first, last = self._blocks[int(np.searchsorted([last for _, last in self._blocks], j, side="right"))]
        block = self._read(first, last)
        own = block[block["column"] == j]
        found = np.zeros(self.n_rows)
        found[own["row"]] = own["value"]
        return found

    def close(self) -> None:
        """Remove the file."""
        self._spill.close()

    def _fill(self, parts: Callable[[], Iterable[Part]]) -> None:
        """Write each part's nonzeros to their blocks' places in the file, in the order in which they come."""
        owner = np.repeat(np.arange(len(self._blocks)), [last - first for first, last in self._blocks])
        ends = self._starts[[last for _, last in self._blocks]]
        following = self._starts[[first for first, _ in self._blocks]]
        for part in parts():
            rows, ids, values = checked(part, self.n_rows, self.n_columns)
            blocks = owner[ids]
            order = np.argsort(blocks.astype(np.uint16) if len(ends) <= 1 << 16 else blocks, kind="stable")
            entries = np.empty(len(ids), dtype=NONZERO)
            entries["row"], entries["column"], entries["value"] = rows[order], ids[order], values[order]
            counts = np.bincount(blocks, minlength=len(ends))
            if (following + counts > ends).any():
                raise ValueError(CHANGED)
            begin = 0
            for block in np.flatnonzero(counts):
                end = begin + int(counts[block])
                self._spill.write(entries[begin:end], int(following[block]) * NONZERO.itemsize)
                begin = end
            following += counts
        if (following != ends).any():
            raise ValueError(CHANGED)

    def _read(self, first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        begin, end = int(self._starts[first]), int(self._starts[last])
        return self._spill.read(begin * NONZERO.itemsize, end - begin, NONZERO)


def _blocks(starts: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges [first, last) of columns, in order; each has at most BLOCK nonzeros, or is a single column.

    `starts` [n_columns + 1] is where each column's nonzeros start.
    """
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1, first + 1)
        yield first, last
        first = last


READ = ("sequence_id", "feature_ids", "feature_activations")


def pooled_columns(run: Path, sae: str, d_sae: int, sequence_ids: Ints) -> ColumnFile:
    """Sort the pooled features [n, d_sae] of these sequences [n] (ids ascending) into a temporary file in `run`.

    Raises ValueError and WriteError as `ColumnFile` does.
    """

    def rows() -> Iterator[Part]:
        for part in parts(run, "pooled_features"):
            for table in sae_groups(part, sae, READ):
                at, wanted = places(sequence_ids, table["sequence_id"].to_numpy())
                lengths, ids, values = active_in(table.filter(pa.array(wanted)))
                yield np.repeat(at[wanted], lengths), ids, values

    return ColumnFile(rows, len(sequence_ids), d_sae, run)
