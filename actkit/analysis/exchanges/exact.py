"""Exact p-values of rank sums for columns with few nonzeros, from one table for all columns with as many.

T depends on how many of the active texts are positive, k, and on the sum W of their ranks among the active ones. Where
no two values are equal, subsets by k and W are counted as for Wilcoxon's rank sum (Mann & Whitney 1947), text by text.
"""

import numpy as np
from scipy.special import binom

from actkit.analysis.columns import Floats, Ints
from actkit.analysis.exchanges.conditional import hypergeometric

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
