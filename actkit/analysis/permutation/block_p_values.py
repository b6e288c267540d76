"""p-values of one block of columns by the limit, and which columns need another way: exact counts, or draws."""

import numpy as np
import numpy.typing as npt
from scipy.special import binom

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.permutation.conditional import conditional_tails, hypergeometric
from actkit.analysis.permutation.design import Design, Scores
from actkit.analysis.permutation.moments import cumulants, tails

WIDE = 4096
"""Numbers of positive active texts that are possible, above which T is smooth without conditioning on them."""
EFFECTIVE = {"groups": 50, "within-groups": 150}
"""Units that must carry the variance for the limit to be used where labels are not exchanged between single texts.

Measured against 500,000 draws with groups of 1 to 30 texts, pairs and groups of 8: p then is 0.9 to 1.25 times what it
should be at 1e-3 and 0.8 to 1.5 times at 1e-4. With half as many units it is 0.75 to 1.8 times at 1e-4.
"""


def two_sided(low_and_high: tuple[Floats, Floats]) -> Floats:
    """Twice the smaller of two tails, at most 1."""
    found: Floats = np.minimum(1.0, 2 * np.minimum(*low_and_high))
    return found


def by_texts(scores: Scores, labels: Bools, design: Design) -> tuple[Floats, npt.NDArray[np.str_]]:
    """The p and method [n_columns] of a block where units are texts; p is NaN yet where it is exact or to be drawn."""
    m, active = int(labels.sum()), scores.active
    few = (active > 0) & (active <= MOST_ACTIVE)
    tied = few.copy()
    tied[few] = scores.where(few).tied()
    width = np.minimum(np.minimum(active, len(labels) - active), min(m, len(labels) - m))
    wide = width > WIDE
    p, method = np.full(len(active), np.nan), np.where(tied, "draws", np.where(few, "exact", "limit"))
    steps = ~few & ~wide & (active > 0)
    p[steps] = two_sided(conditional_tails(scores.where(steps), labels))
    found = cumulants(scores.where(wide), labels, design)
    p[wide] = two_sided(tails(found.observed, found.variance, found.third))
    return p, np.where(active > 0, method, "")


def by_units(scores: Scores, labels: Bools, design: Design) -> tuple[Floats, npt.NDArray[np.str_]]:
    """The p and method [n_columns] of a block where units are groups or their texts; 1 yet where p is to be drawn."""
    found = cumulants(scores, labels, design)
    smooth = found.effective >= EFFECTIVE[design.kind]
    p = np.ones(len(scores.active))
    p[smooth] = two_sided(tails(found.observed[smooth], found.variance[smooth], found.third[smooth]))
    # Where T cannot vary, whatever is drawn is as extreme.
    method = np.where(smooth, "limit", np.where(found.variance > 0, "draws", "exact"))
    active = scores.active > 0
    return np.where(active, p, np.nan), np.where(active, method, "")


MOST_ACTIVE = 64
"""Nonzeros up to which subsets are counted: 64 take 2080 rank sums for each k."""


def exact_tails(observed: Ints, active: Ints, n: int, m: int) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) of columns [n_columns], each with 1 to MOST_ACTIVE nonzeros in `active`.

    Of sums of scores by text over the m positive ones of n texts, where no two scores of a column are equal.
    """
    low, high = np.empty(len(observed)), np.empty(len(observed))
    top = int(active.max(initial=0))
    table = np.zeros((top + 1, top * (top + 1) // 2 + 1))
    table[0, 0] = 1
    for number in range(1, top + 1):
        table[1:, number:] += table[:-1, : table.shape[1] - number].copy()
        here = np.flatnonzero(active == number)
        if len(here):
            sums, chances = _distribution(table[: number + 1], number, n, m)
            below, above = np.cumsum(chances), np.cumsum(chances[::-1])[::-1]
            low[here] = below[np.searchsorted(sums, observed[here], side="right") - 1]
            high[here] = above[np.searchsorted(sums, observed[here], side="left")]
    return low, high


def _distribution(table: Floats, active: int, n: int, m: int) -> tuple[Ints, Floats]:
    """What the sum of scores of positive texts can be, ascending, and how likely each is."""
    k, ranks = np.nonzero(table)
    chances = table[k, ranks] / binom(active, k) * hypergeometric(k, n, m, np.full(len(k), active))
    # The text of rank r among the active ones is above n - active zeros and r - 1 others: see `Scores`.
    sums = k * (n - active - 1) + 2 * ranks
    order = np.argsort(sums, kind="stable")
    return sums[order], chances[order]
