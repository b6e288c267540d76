"""p-values for single texts: exact in how many active texts are positive, by the limit in which of them.

T = Σ over positive texts is nearly a multiple of their number k among a column's active texts, so that its distribution
has steps that no smooth tail follows. Given k, which of the active texts are positive is a sample without replacement,
and the sum of their scores has a smooth limit; k itself is hypergeometric.

Measured against exact p down to 1e-6, with 65 or 100 of 500 or 2,000 texts active: with half of the texts positive, 98
in 100 p are within 0.4 %, with 5 or 10 % of them positive within 17 %; Pearson's type III tail alone is off by a factor
of up to 6 there. With values at two levels only, p is 0.98 to 1.25 times the exact one.
"""

import numpy as np
from scipy.special import gammaln

from actkit.analysis.column_ranks import sums
from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.permutation.design import Scores
from actkit.analysis.permutation.moments import NO_VARIANCE, tails

CELLS = 1 << 18
"""Pairs of a column and a k worked on at once."""


def conditional_tails(scores: Scores, labels: Bools) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) of a block's columns [n_columns], each with a nonzero.

    Of scores by text, with T as it is for `labels` [n]. Sums in which values tie lie on a lattice; half a step is
    allowed for it.
    """
    n, m, active, owner = len(labels), int(labels.sum()), scores.active, scores.owner
    observed = scores.observed(labels)
    apart = scores.score - n  # an active text's mean score is n, exactly
    second, third = (sums(owner, apart.astype(np.float64) ** power, len(active)) for power in (2, 3))
    first = scores.score[scores.starts[:-1]]
    step = np.gcd.reduceat(np.abs(scores.score - first[owner]), scores.starts[:-1])
    least, most = np.maximum(0, m - (n - active)), np.minimum(active, m)
    low, high = np.zeros(len(active)), np.zeros(len(active))
    ends = np.cumsum(most - least + 1)
    begin = 0
    while begin < len(active):
        end = max(begin + 1, int(np.searchsorted(ends, (ends[begin - 1] if begin else 0) + CELLS, side="right")))
        here = slice(begin, end)
        counts = step[here], least[here], most[here], active[here]
        low[here], high[here] = _mixed(n, m, observed[here], second[here], third[here], *counts)
        begin = end
    return low, high


def _mixed(
    n: int, m: int, observed: Ints, second: Floats, third: Floats, step: Ints, least: Ints, most: Ints, active: Ints
) -> tuple[Floats, Floats]:
    counts = most - least + 1
    at = np.repeat(np.arange(len(counts)), counts)
    k = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts - least, counts)
    a = active[at].astype(np.float64)
    weight = hypergeometric(k, n, m, active[at])
    spread = k * (a - k) / (a * np.maximum(a - 1, 1))
    variance, skew = spread * second[at], spread * (a - 2 * k) / np.maximum(a - 2, 1) * third[at]
    gap = (observed[at] - k * n).astype(np.float64)
    below, above = (gap >= 0).astype(np.float64), (gap <= 0).astype(np.float64)
    smooth = variance > NO_VARIANCE
    half = step[at][smooth] / 2
    below[smooth] = tails(gap[smooth] + half, variance[smooth], skew[smooth])[0]
    above[smooth] = tails(gap[smooth] - half, variance[smooth], skew[smooth])[1]
    return sums(at, weight * below, len(counts)), sums(at, weight * above, len(counts))


def hypergeometric(k: Ints, n: int, m: int, active: Ints) -> Floats:
    """The probability that k of the `active` texts are positive where m of n are."""

    def ways(among: Ints | int, chosen: Ints | int) -> Floats:
        found: Floats = gammaln(np.add(among, 1)) - gammaln(np.add(chosen, 1)) - gammaln(np.subtract(among, chosen) + 1)
        return found

    found: Floats = np.exp(ways(active, k) + ways(n - active, m - k) - ways(n, m))
    return found
