"""Rank statistics of sparse columns under labels that are exchanged at random, for many exchanges at once."""

import numpy as np

from actkit.analysis.columns import Bools, Floats
from actkit.analysis.permutation.design import Design, permuted_units
from actkit.analysis.permutation.score_blocks import ScoreBlocks, chunks, slices

LABELS = 1 << 23
"""Labels drawn at once, a byte each; where units are of many strata, the draws depend on it."""
FEWEST_DRAWS = 200
MOST_PRODUCTS = 2e10
"""Nonzeros × draws that `largest_of_draws` takes: about ten seconds."""


def drawn_tails(
    scores: ScoreBlocks, labels: Bools, design: Design, rng: np.random.Generator, draws: int
) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) [n_columns] of scores over the used texts, from `draws` exchanges.

    Each is (1 + exchanges at least as extreme) / (1 + draws), which never is 0 and never too small (Phipson & Smyth
    2010). T is as it is for `labels` [n]; sums are of whole numbers, so that equal ones are seen to be equal.
    """
    n_units, active, grouped = len(design.stratum), scores.active, design.kind == "groups"
    own, touched = design.units_of(labels).astype(np.float64), np.zeros(n_units, dtype=np.bool_)
    observed = np.zeros(len(active))
    for first, block in scores.blocks(n_units):
        touched[block.indices] = True
        observed[first : first + block.shape[0]] = block @ own
    units = np.flatnonzero(touched)
    if grouped:  # a draw's positive texts are counted over all groups
        units = np.arange(n_units)
        observed -= active * design.totals(labels)[0]
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
    """[draws] for each exchange of labels, the largest |AUROC - 0.5| + 0.5 of all columns: what chance alone achieves.

    Scores and AUROCs are over all texts, those whose label the design keeps included; scores are by group where the
    design is by groups, else by text. Of very large matrices fewer draws are made (at least 200), and as many
    returned. NaN where a class is empty.
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
