"""A sparse matrix of pooled features, stored by column: a test of a feature reads it over all texts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Part = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.floating]]
"""Row numbers, column ids and values, [k] each, in any order."""


@dataclass(frozen=True)
class Columns:
    """A matrix [n_rows, n_columns] in compressed columns: an element that is not stored is exactly 0."""

    n_rows: int
    starts: Ints
    """[n_columns + 1] where each column's nonzeros start."""
    rows: npt.NDArray[np.int32]
    """[nnz], ascending within a column."""
    values: npt.NDArray[np.float32]
    """[nnz], all above 0."""

    @property
    def n_columns(self) -> int:
        """Number of columns, those without a nonzero included."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, part: Part, n_rows: int, n_columns: int) -> "Columns":
        """Make a matrix of these nonzeros; explicit zeros are left out.

        Raises ValueError where `checked` does, and for two values at one place.
        """
        rows, ids, values = checked(part, n_rows, n_columns)
        order = np.lexsort((rows, ids))
        rows, ids = rows[order], ids[order]
        if ((np.diff(rows) == 0) & (np.diff(ids) == 0)).any():
            raise ValueError("two values of a sparse matrix are at one place")
        starts = np.concatenate([[0], np.cumsum(np.bincount(ids, minlength=n_columns))])
        return cls(n_rows, starts, rows.astype(np.int32), values[order])

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


def checked(part: Part, n_rows: int, n_columns: int) -> Part:
    """Return the nonzeros of a part, values as float32.

    Raises ValueError for a value that is negative or not finite, a row or column that does not exist, and arrays of
    different lengths.
    """
    rows, ids, values = part
    if not len(rows) == len(ids) == len(values):
        raise ValueError(f"{len(rows)} rows, {len(ids)} columns and {len(values)} values")
    values = values.astype(np.float32, copy=False)  # a value too small for float32 becomes 0
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a value of a sparse matrix is negative or no finite number")
    for what, numbers, end in (("row", rows, n_rows), ("column", ids, n_columns)):
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < end):
            raise ValueError(f"a {what} is outside of 0 to {end - 1}")
    filled = values > 0
    return (rows, ids, values) if filled.all() else (rows[filled], ids[filled], values[filled])
