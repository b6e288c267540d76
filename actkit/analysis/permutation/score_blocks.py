"""Rank scores of many columns, block by block: in memory, or in a temporary file that is read many times."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.permutation.design import Scores
from actkit.analysis.scratch_file import Spill

PRODUCTS = 1 << 20
"""Elements of the dense arrays of a product: 8 MB in float64. Larger ones leave the cache and are four times slower."""


class ScoreBlocks:
    """Blocks of columns' scores by unit, in the order in which they were added."""

    def __init__(self, folder: Path | None = None) -> None:
        """With a folder, blocks wait in a file there, 12 bytes a score; else in memory. WriteError: disk full."""
        self._folder = folder
        self._spill = None if folder is None else Spill(folder)
        self._blocks: list[tuple[Any, npt.NDArray[np.int32]]] = []
        """Scores and units of a block, or where they begin in the file; and [columns + 1] where each column's start."""
        self._active: list[Ints] = [np.zeros(0, dtype=np.int64)]
        self.n_scores = 0

    def add(self, scores: Scores) -> None:
        """Add a block; one without a column is none."""
        if not len(scores.active):
            return
        arrays = scores.score.astype(np.float64), scores.unit.astype(np.int32)
        kept = arrays if self._spill is None else [self._spill.write(array) for array in arrays]
        self._blocks.append((kept, scores.starts.astype(np.int32)))
        self._active.append(scores.active)
        self.n_scores += len(scores.score)

    @property
    def most_columns(self) -> int:
        """The most columns that a block has."""
        return max(len(block) for block in self._active)

    @property
    def active(self) -> Ints:
        """[n_columns] nonzeros of each column added."""
        return np.concatenate(self._active)

    def blocks(self, n_units: int) -> Iterator[tuple[int, sp.csr_array]]:
        """Each block's first column, and the block as [columns of a block, n_units]."""
        first = 0
        for kept, starts in self._blocks:
            yield first, sp.csr_array((*self._read(kept, starts), starts), shape=(len(starts) - 1, n_units))
            first += len(starts) - 1

    def where(self, columns: Bools) -> "ScoreBlocks":
        """The scores of some of the columns ([n_columns] True: kept), as blocks of their own."""
        found = ScoreBlocks(self._folder)
        first = 0
        for (kept, starts), active in zip(self._blocks, self._active[1:], strict=True):
            score, unit = (values.astype(np.int64) for values in self._read(kept, starts))
            found.add(Scores(unit, starts.astype(np.int64), score, active).where(columns[first : first + len(active)]))
            first += len(active)
        return found

    def _read(self, kept: Any, starts: npt.NDArray[np.int32]) -> tuple[Floats, npt.NDArray[np.int32]]:
        if self._spill is None:
            return kept[0], kept[1]
        n = int(starts[-1])
        return self._spill.read(kept[0], n, np.float64), self._spill.read(kept[1], n, np.int32)

    def close(self) -> None:
        """Remove the file."""
        if self._spill is not None:
            self._spill.close()


def chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges [first, last) of at most `size` (at least 1) that make up 0 to `total`."""
    for first in range(0, total, max(size, 1)):
        yield first, min(first + max(size, 1), total)


def slices(labels: Bools, n_columns: int) -> list[tuple[slice, Bools]]:
    """Labels [n_units, draws] some draws at a time, contiguous, and which: so many that `PRODUCTS` is not exceeded.

    That is by the labels themselves, and by their products with at most `n_columns` columns.
    """
    parts = chunks(labels.shape[1], PRODUCTS // max(len(labels), n_columns, 1))
    return [(slice(first, last), np.ascontiguousarray(labels[:, first:last])) for first, last in parts]
