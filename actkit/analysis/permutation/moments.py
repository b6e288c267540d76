"""Exact cumulants of linear rank statistics under exchange of labels, and the tails that they imply.

Labels of a stratum are a sample without replacement from a finite population, whose first three cumulants are known;
those of independent strata add up. The tail is Pearson's type III (a shifted gamma) with these cumulants, as Mielke &
Berry (2007) do for permutation tests.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaincc, ndtr

from actkit.analysis.column_ranks import distinct, sums
from actkit.analysis.columns import Bools, Floats
from actkit.analysis.permutation.design import Design, Scores

SYMMETRIC = 1e-4
"""Skewness below which a normal tail is used: the gamma's shape would be 4e8."""

NO_VARIANCE = 1e-6
"""Below it a variance is rounding: scores are whole numbers."""


@dataclass(frozen=True)
class Cumulants:
    """Cumulants of 2T for each column, [n_columns] each: the observed value less its mean, variance, third cumulant."""

    observed: Floats
    variance: Floats
    third: Floats
    effective: Floats
    """About how many equal units of the smaller class carry the variance: how far the limit can be trusted."""


def cumulants(scores: Scores, labels: Bools, design: Design) -> Cumulants:
    """The cumulants of a block of columns, with T as it is for `labels` [n]. `effective` is NaN without variance."""
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
    positives = design.units_of(labels)[scores.unit]
    observed = sums(owner, scores.score * positives, n_columns)
    observed -= sums(columns, mean * design.totals(labels)[strata], n_columns)
    fourth = sums(columns, fourth, n_columns)
    effective = np.divide(variance**2, fourth, out=np.full(n_columns, np.nan), where=variance > 0)
    return Cumulants(observed, variance, sums(columns, skew * power(3), n_columns), effective)


def tails(t: Floats, variance: Floats, third: Floats) -> tuple[Floats, Floats]:
    """P(T ≤ t) and P(T ≥ t) of a Pearson type III variable with mean 0, this variance (above 0) and third cumulant."""
    standard, skew = t / np.sqrt(variance), third / variance**1.5
    low, high = ndtr(standard), ndtr(-standard)
    bent = np.abs(skew) > SYMMETRIC
    shape = 4 / skew[bent] ** 2
    at = np.maximum(shape + np.sqrt(shape) * standard[bent] * np.sign(skew[bent]), 0.0)
    left, right = gammainc(shape, at), gammaincc(shape, at)
    low[bent], high[bent] = np.where(skew[bent] > 0, (left, right), (right, left))
    return low, high
