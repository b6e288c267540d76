"""p-values for single texts: exact over the number of active texts that are positive, by the limit over which they are.

T, a sum over positive texts, is nearly a multiple of the number k of positive texts among a column's active ones, so
that its distribution has steps that no smooth tail follows. Given k, the positive texts are a sample of the active ones
without replacement, and the sum of their scores has a smooth limit. k itself is hypergeometric.

Measured against exact p down to 1e-6, with 65 or 100 of 500 or 2,000 texts active: with half of the texts positive, 98
in 100 p are within 0.4 %, with 5 or 10 % of them positive within 17 %; Pearson's type III tail alone is off by a factor
of up to 6 there. With values at two levels only, p is 0.98 to 1.25 times the exact one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln, ndtr

from actkit.analysis.column_ranks import distinct, sums
from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.permutation.design import Design, Scores

SYMMETRIC = 1e-4
"""Skewness below which a normal tail is used: the gamma's shape would be 4e8."""

NO_VARIANCE = 1e-6
"""Below it a variance is rounding: scores are whole numbers."""
CELLS = 1 << 18
"""Pairs of a column and a k worked on at once."""


@dataclass(frozen=True)
class Cumulants:
    """Cumulants of 2T for each column, [n_columns] each: the observed value less its mean, variance, third cumulant.

    A stratum's labels are a sample without replacement, whose exact cumulants are known; independent strata add up.
    """

    observed: Floats
    variance: Floats
    third: Floats
    effective: Floats
    """About how many equal units of the smaller class carry the variance: the more, the better the limit."""


def cumulants(scores: Scores, design: Design) -> Cumulants:
    """The cumulants of a block of columns under the exchanges of `design`; `effective` is NaN without variance."""
    n_columns, n_strata, owner = len(scores.active), design.n_strata, scores.owner
    stratum = design.stratum[scores.unit]
    cell, keys = distinct(owner * n_strata + stratum)
    columns, strata = np.divmod(keys, n_strata)
    sizes, members = design.sizes.astype(np.float64), np.bincount(design.stratum, minlength=n_strata)
    chosen = np.bincount(design.stratum, design.unit_labels, n_strata)
    texts = np.bincount(design.stratum, sizes, n_strata)
    mean = np.bincount(cell, scores.score, len(keys)) / texts[strata]  # of a text in that stratum
    size = sizes[scores.unit]
    apart = scores.score - mean[cell] * size

    def power(k: int) -> Floats:
        """Sum over the units of a stratum, those without a score included, of the centred scores to the k."""
        rest = np.bincount(design.stratum, sizes**k, n_strata)[strata] - np.bincount(cell, size**k, len(keys))
        found: Floats = np.bincount(cell, apart**k, len(keys)) + rest * (-mean) ** k
        return found

    g, m = members[strata].astype(np.float64), chosen[strata]
    spread = m * (g - m) / (g * np.maximum(g - 1, 1))
    skew = spread * (g - 2 * m) / np.maximum(g - 2, 1)
    second, fourth = spread * power(2), spread**2 * power(4) / np.maximum(np.minimum(m, g - m) / g, 1e-300)
    variance = sums(columns, second, n_columns)
    variance[variance < NO_VARIANCE] = 0
    observed = scores.observed(design.unit_labels) - sums(columns, mean * design.positives[strata], n_columns)
    fourth = sums(columns, fourth, n_columns)
    effective = np.divide(variance**2, fourth, out=np.full(n_columns, np.nan), where=variance > 0)
    return Cumulants(observed, variance, sums(columns, skew * power(3), n_columns), effective)


def tails(t: Floats, variance: Floats, third: Floats) -> tuple[Floats, Floats]:
    """P(T ≤ t) and P(T ≥ t) of a Pearson type III variable: see `lower_tail`."""
    return lower_tail(t, variance, third), lower_tail(-t, variance, -third)


def lower_tail(t: Floats, variance: Floats, third: Floats) -> Floats:
    """P(T ≤ t) of a Pearson type III variable with mean 0, this variance (above 0) and third cumulant.

    A shifted gamma, as Mielke & Berry (2007) take it for permutation tests.
    """
    standard, skew = t / np.sqrt(variance), third / variance**1.5
    found: Floats = ndtr(standard)
    for bent, sign, of_gamma in ((skew > SYMMETRIC, 1, gammainc), (skew < -SYMMETRIC, -1, gammaincc)):
        shape = 4 / skew[bent] ** 2
        found[bent] = of_gamma(shape, np.maximum(shape + sign * np.sqrt(shape) * standard[bent], 0.0))
    return found


def conditional_tails(scores: Scores, labels: Bools) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) of a block's columns [n_columns], each with a nonzero.

    `scores` are by text, and T is observed with `labels` [n]. The sums lie on a lattice, which is coarse where values
    tie; half a step corrects for it.
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
    below[smooth] = lower_tail(gap[smooth] + half, variance[smooth], skew[smooth])
    above[smooth] = lower_tail(half - gap[smooth], variance[smooth], -skew[smooth])
    return sums(at, weight * below, len(counts)), sums(at, weight * above, len(counts))


def hypergeometric(k: Ints, n: int, m: int, active: Ints) -> Floats:
    """The probability that k of the `active` texts are positive where m of n are."""

    def ways(among: Ints | int, chosen: Ints | int) -> Floats:
        found: Floats = gammaln(np.add(among, 1)) - gammaln(np.add(chosen, 1)) - gammaln(np.subtract(among, chosen) + 1)
        return found

    found: Floats = np.exp(ways(active, k) + ways(n - active, m - k) - ways(n, m))
    return found
