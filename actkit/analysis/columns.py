"""A sparse matrix of pooled features by column, which is how features are tested: each over all texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Part = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.floating]]
"""Row numbers, column ids and values, [k] each, in any order."""
BLOCK = 1 << 18
"""Nonzeros that are worked on at once: 2 MB an array in float64, and some forty of those at the peak."""
CHANGED = "the parts of a matrix were not the same the second time"


@dataclass(frozen=True)
class Columns:
    """[n_rows, n_columns] in compressed columns: what is not stored is exactly 0."""

    n_rows: int
    starts: Ints
    """[n_columns + 1] where each column's nonzeros start."""
    rows: npt.NDArray[np.int32]
    """[nnz], ascending within a column."""
    values: npt.NDArray[np.float32]
    """[nnz], all above 0."""

    @property
    def n_columns(self) -> int:
        """Columns, those without a nonzero included."""
        return len(self.starts) - 1

    @classmethod
    def from_rows(cls, parts: Callable[[], Iterable[Part]], n_rows: int, n_columns: int) -> "Columns":
        """The columns of a matrix that comes in parts, read twice: the peak of memory is the result and one part.

        Explicit zeros are left out. Raises ValueError for a value that is negative or no finite number, a row or
        column that does not exist, two values at one place, and parts that are not the same the second time.
        """
        starts = np.zeros(n_columns + 1, dtype=np.int64)
        for part in parts():
            starts[1:] += np.bincount(checked(part, n_rows, n_columns)[1], minlength=n_columns)
        starts = np.cumsum(starts)
        rows, values = np.empty(starts[-1], dtype=np.int32), np.empty(starts[-1], dtype=np.float32)
        following = starts[:-1].copy()
        for part in parts():
            here, ids, activations = checked(part, n_rows, n_columns)
            order = np.lexsort((here, ids))
            counts = np.bincount(ids, minlength=n_columns)
            if (following + counts > starts[1:]).any():
                raise ValueError(CHANGED)
            places = np.repeat(following - np.cumsum(counts) + counts, counts) + np.arange(len(ids))
            rows[places], values[places] = here[order], activations[order]
            following += counts
        if (following != starts[1:]).any():
            raise ValueError(CHANGED)
        found = cls(n_rows, starts, rows, values)
        for first, last in found.blocks(BLOCK):
            _sort_rows(found.slice(first, last))
        return found

    def owners(self) -> Ints:
        """[nnz] the column of each nonzero. Meant for a block, not for all of a large matrix."""
        return np.repeat(np.arange(self.n_columns), np.diff(self.starts))

    def where(self, rows: Bools) -> "Columns":
        """The same columns over some of the rows ([n_rows] True: kept), which are numbered anew in order."""
        kept = rows[self.rows]
        counts = np.zeros(self.n_columns, dtype=np.int64)
        filled = np.diff(self.starts) > 0
        if filled.any():  # reduceat takes an empty segment for its first element
            counts[filled] = np.add.reduceat(kept, self.starts[:-1][filled], dtype=np.int64)
        numbers = (np.cumsum(rows) - 1).astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Columns(int(rows.sum()), starts, numbers[self.rows[kept]], self.values[kept])

    def blocks(self, most: int) -> Iterator[tuple[int, int]]:
        """Ranges [first, last) of columns, in order, with at most `most` nonzeros or one column each."""
        return blocks_of(self.starts, most)

    def slice(self, first: int, last: int) -> "Columns":
        """Columns [first, last), as a view."""
        here = slice(self.starts[first], self.starts[last])
        return Columns(
            self.n_rows, self.starts[first : last + 1] - self.starts[first], self.rows[here], self.values[here]
        )


def blocks_of(starts: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Ranges [first, last) of columns, in order, with at most `most` nonzeros or one column each.

    `starts` [n_columns + 1] is where each column's nonzeros start.
    """
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(starts, starts[first] + most, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def checked(part: Part, n_rows: int, n_columns: int) -> Part:
    """The nonzeros of a part, values as float32.

    Raises ValueError for a value that is negative or no finite number, and a row or column that does not exist.
    """
    rows, ids, values = part
    if not len(rows) == len(ids) == len(values):
        raise ValueError(f"{len(rows)} rows, {len(ids)} columns and {len(values)} values")
    values = values.astype(np.float32, copy=False)  # what is too small for float32 is 0 too
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a value of a sparse matrix is negative or no finite number")
    for what, numbers, end in (("row", rows, n_rows), ("column", ids, n_columns)):
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < end):
            raise ValueError(f"a {what} is outside of 0 to {end - 1}")
    filled = values > 0
    return (rows, ids, values) if filled.all() else (rows[filled], ids[filled], values[filled])


def _sort_rows(block: Columns) -> None:
    """Parts may come in any order; within a column the rows may not."""
    owners = block.owners()
    if not ((np.diff(block.rows) > 0) | (np.diff(owners) > 0)).all():
        order = np.lexsort((block.rows, owners))
        block.rows[:], block.values[:] = block.rows[order], block.values[order]
        if ((np.diff(block.rows) == 0) & (np.diff(owners) == 0)).any():
            raise ValueError("two values of a sparse matrix are at one place")
