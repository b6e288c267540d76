"""Rank statistics of sparse columns under labels that are exchanged at random, for many exchanges at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.permutation.design import Design, Scores, permuted_units
from actkit.analysis.scratch_file import Spill

PRODUCTS = 1 << 20
"""Elements of the dense arrays of a product: 8 MB in float64. Larger ones leave the cache and are four times slower."""
LABELS = 1 << 23
"""Labels drawn at once, a byte each; where units are of many strata, the draws depend on it."""
FEWEST_DRAWS = 200
MOST_PRODUCTS = 2e10
"""Nonzeros × draws that `largest_of_draws` takes: about ten seconds."""


class ScoreBlocks:
    """Blocks of columns' scores by unit, in the order in which they were added."""

    def __init__(self, folder: Path) -> None:
        """Keep blocks in a file in `folder`, 12 bytes a score. Raises WriteError where the disk is full."""
        self._folder, self._spill = folder, Spill(folder)
        self._blocks: list[tuple[int, int, npt.NDArray[np.int32]]] = []
        """Where a block's scores and units begin in the file; [columns + 1] where each column begins in them."""
        self._active: list[Ints] = [np.zeros(0, dtype=np.int64)]
        self.n_scores = 0

    def add(self, scores: Scores) -> None:
        """Add a block; a block without columns is dropped."""
        if not len(scores.active):
            return
        begin = self._spill.write(scores.score.astype(np.float64))
        self._blocks.append((begin, self._spill.write(scores.unit.astype(np.int32)), scores.starts.astype(np.int32)))
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
        """Yield each block's first column, and its scores [columns of the block, n_units]."""
        first = 0
        for score, unit, starts in self._read():
            yield first, sp.csr_array((score, unit, starts), shape=(len(starts) - 1, n_units))
            first += len(starts) - 1

    def where(self, columns: Bools) -> "ScoreBlocks":
        """The scores of some of the columns ([n_columns] True: kept), as blocks of their own."""
        found = ScoreBlocks(self._folder)
        first = 0
        for arrays, active in zip(self._read(), self._active[1:], strict=True):
            score, unit, starts = (values.astype(np.int64) for values in arrays)
            found.add(Scores(unit, starts, score, active).where(columns[first : first + len(active)]))
            first += len(active)
        return found

    def _read(self) -> Iterator[tuple[Floats, npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """The scores, units and starts of each block."""
        for score, unit, starts in self._blocks:
            n = int(starts[-1])
            yield self._spill.read(score, n, np.float64), self._spill.read(unit, n, np.int32), starts

    def close(self) -> None:
        """Remove the file."""
        self._spill.close()


def chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0 to `total` into ranges [first, last) of at most `size` (at least 1)."""
    for first in range(0, total, max(size, 1)):
        yield first, min(first + max(size, 1), total)


def slices(labels: Bools, n_columns: int) -> list[tuple[slice, Bools]]:
    """Cut labels [n_units, draws] into contiguous arrays of some draws, each with the slice of its draws.

    Neither such an array nor its product with `n_columns` columns has more than PRODUCTS elements.
    """
    parts = chunks(labels.shape[1], PRODUCTS // max(len(labels), n_columns, 1))
    return [(slice(first, last), np.ascontiguousarray(labels[:, first:last])) for first, last in parts]


def drawn_tails(scores: ScoreBlocks, design: Design, rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) [n_columns] of scores over the used texts, from `draws` exchanges.

    Each is (1 + exchanges at least as extreme) / (1 + draws), which never is 0 and never too small (Phipson & Smyth
    2010). Sums are of whole numbers, so that equal sums compare equal.
    """
    n_units, active, grouped = len(design.stratum), scores.active, design.kind == "groups"
    own, touched = design.unit_labels.astype(np.float64), np.zeros(n_units, dtype=np.bool_)
    observed = np.zeros(len(active))
    for first, block in scores.blocks(n_units):
        touched[block.indices] = True
        observed[first : first + block.shape[0]] = block @ own
    units = np.flatnonzero(touched)
    if grouped:  # a draw's positive texts are counted over all groups
        units = np.arange(n_units)
        observed -= active * design.positives[0]
    number = (np.cumsum(touched) - 1).astype(np.int32)
    low, high = np.ones(len(active)), np.ones(len(active))
    for begin, end in chunks(draws, LABELS // max(len(units), 1)):
        drawn = slices(permuted_units(design, rng, end - begin, units), scores.most_columns)
        for first, block in scores.blocks(n_units):
            columns = slice(first, first + block.shape[0])
            if not grouped:
                block = type(block)((block.data, number[block.indices], block.indptr), (block.shape[0], len(units)))
            for _, some in drawn:
                found = block @ (some := some.astype(np.float64))
                if grouped:
                    found -= active[columns, None] * (design.sizes @ some)
                low[columns] += (found <= observed[columns, None]).sum(1)
                high[columns] += (found >= observed[columns, None]).sum(1)
    return low / (1 + draws), high / (1 + draws)


def largest_of_draws(scores: ScoreBlocks, design: Design, rng: np.random.Generator, draws: int) -> Floats:
    """[draws] the largest |AUROC - 0.5| + 0.5 of all columns for each exchange of labels: the best of chance alone.

    Scores and AUROCs are over all texts, those whose label the design keeps included; scores are by group where the
    design is by groups, else by text. A very large matrix gets fewer draws than asked for, but not fewer than 200. NaN
    where a class is empty.
    """
    n, active, grouped = len(design.labels), scores.active, design.kind == "groups"
    n_units = len(design.stratum) if grouped else n
    sizes = design.sizes.astype(np.float64) if grouped else np.ones(n)
    draws = min(draws, max(FEWEST_DRAWS, int(MOST_PRODUCTS / max(scores.n_scores, 1))))
    found = []
    for begin, end in chunks(draws, LABELS // max(n_units, 1)):
        drawn = slices(_every_unit(design, rng, end - begin, n_units), scores.most_columns)
        positives = np.concatenate([sizes @ some.astype(np.float64) for _, some in drawn])
        apart = np.zeros(end - begin)
        for first, block in scores.blocks(n_units):
            for here, some in drawn:
                sums = block @ some.astype(np.float64)
                sums -= active[first : first + block.shape[0], None] * positives[here]
                np.abs(sums, out=sums)
                np.maximum(apart[here], sums.max(0, initial=0), out=apart[here])
        with np.errstate(invalid="ignore"):
            found.append(0.5 + apart / (2 * positives * (n - positives)))
    return np.concatenate(found)


def _every_unit(design: Design, rng: np.random.Generator, draws: int, n_units: int) -> Bools:
    """[n_units, draws] labels of all units, or of all texts where only some can change."""
    drawn = permuted_units(design, rng, draws)
    if len(drawn) == n_units:
        return drawn
    found = np.repeat(design.labels[:, None], draws, axis=1)
    found[design.used] = drawn
    return found
