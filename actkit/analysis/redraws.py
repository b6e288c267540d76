"""Rank statistics of sparse columns under labels that are exchanged at random, for many exchanges at once."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from actkit.analysis.columns import BLOCK, Bools, Columns, Floats, Ints
from actkit.analysis.design import Design, permuted_units, scores_of

LABELS = 1 << 23
"""Labels drawn at once: 64 MB in float64."""
FEWEST_DRAWS = 200
MOST_PRODUCTS = 2e10
"""Nonzeros × draws that `largest_under_null` takes: about half a minute."""


def drawn_tails(
    columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int
) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) [n_columns] of columns over the used texts, from `draws` exchanges.

    Each is (1 + exchanges at least as extreme) / (1 + draws), which never is 0 and never too small (Phipson & Smyth
    2010). T is as it is for `labels` [n]; sums are of whole numbers, so that equal ones are seen to be equal.
    """
    of_unit, active = _matrices(columns, design.unit, len(design.stratum))
    observed = _sums(of_unit, design.units_of(labels)[:, None].astype(np.float64))
    touched = np.zeros(len(design.stratum), dtype=np.bool_)
    for block in of_unit:
        touched[block.indices] = True
    units = np.flatnonzero(touched)
    if design.kind == "groups":  # a draw's positive texts are counted over all groups
        units = np.arange(len(touched))
        observed -= active[:, None] * design.totals(labels)[0]
    of_unit = [block[:, units] for block in of_unit]
    low, high = np.ones(len(active)), np.ones(len(active))
    for size in _chunks(draws, len(units)):
        drawn = permuted_units(design, rng, size, units).astype(np.float64)
        found = _sums(of_unit, drawn)
        if design.kind == "groups":
            found -= active[:, None] * (design.sizes @ drawn)
        low += (found <= observed).sum(1)
        high += (found >= observed).sum(1)
    return low / (1 + draws), high / (1 + draws)


def largest_under_null(
    columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int = 1000
) -> Floats:
    """[draws] for each exchange of labels, the largest |AUROC - 0.5| + 0.5 of all columns: what chance alone achieves.

    AUROCs are over all texts, those whose label the design keeps included. Of very large matrices fewer draws are made
    (at least 200), and as many returned. NaN where a class is empty. Raises ValueError where `labels` [n] are not an
    exchange of the design's own.
    """
    design.units_of(labels)
    grouped = design.kind == "groups"
    n_units = len(design.stratum) if grouped else columns.n_rows
    of_unit, active = _matrices(columns, design.unit if grouped else np.arange(columns.n_rows), n_units)
    nonzeros = sum(block.nnz for block in of_unit)
    draws = min(draws, max(FEWEST_DRAWS, int(MOST_PRODUCTS / max(nonzeros, 1))))
    fixed = np.flatnonzero(~design.used)
    changed = np.arange(n_units) if grouped else np.flatnonzero(design.used)
    found = []
    for size in _chunks(draws, n_units):
        drawn = np.empty((n_units, size))
        drawn[changed] = permuted_units(design, rng, size)
        drawn[fixed] = design.labels[fixed, None]
        positives = design.sizes @ drawn if grouped else drawn.sum(0)
        apart = np.zeros(size)
        first = 0
        for block in of_unit:
            last = first + block.shape[0]
            np.maximum(apart, np.abs(block @ drawn - active[first:last, None] * positives).max(0, initial=0), out=apart)
            first = last
        with np.errstate(invalid="ignore"):
            found.append(0.5 + apart / (2 * positives * (columns.n_rows - positives)))
    return np.concatenate(found)


def _chunks(draws: int, n_units: int) -> Iterator[int]:
    most = max(1, LABELS // max(n_units, 1))
    for first in range(0, draws, most):
        yield min(most, draws - first)


def _matrices(columns: Columns, unit: Ints, n_units: int) -> tuple[list[sp.csr_array], Ints]:
    """Scores as matrices [columns of a block, n_units], and nonzeros [n_columns]."""
    found, active = [], np.diff(columns.starts)
    for first, last in columns.blocks(BLOCK):
        scores = scores_of(columns.slice(first, last), unit, n_units)
        data = scores.score.astype(np.float64), scores.unit.astype(np.int32), scores.starts.astype(np.int32)
        found.append(sp.csr_array(data, shape=(last - first, n_units)))
    return found, active


def _sums(matrices: list[sp.csr_array], labels: Floats) -> Floats:
    return np.concatenate([block @ labels for block in matrices] or [np.zeros((0, labels.shape[1]))])
