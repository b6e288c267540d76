"""AUROC of one score or of all columns of a sparse matrix, with intervals that allow for texts that share a group."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from actkit.analysis.auroc_interval import Clusters, interval, standard_error
from actkit.analysis.column_ranks import touched, twice_below
from actkit.analysis.columns import Bools, Columns, Floats


@dataclass(frozen=True)
class Auroc:
    """The AUROC of one score, positive against negative texts: 0.5 is chance; NaN where a class is empty."""

    value: float
    low: float
    high: float
    """Ends of the 95 % interval."""


@dataclass(frozen=True)
class Aurocs:
    """AUROCs of many scores with their 95 % intervals, [n_columns] each."""

    value: Floats
    low: Floats
    high: Floats


def auroc(scores: npt.NDArray[np.generic], labels: Bools, groups: npt.NDArray[np.integer] | None = None) -> Auroc:
    """Compute the area under the ROC curve of scores [n] for labels [n] (True: positive); ties count half.

    The 95 % interval treats texts of one of `groups` [n] as dependent. It takes DeLong's variance (DeLong, DeLong &
    Clarke-Pearson 1988), in Obuchowski's (1997) form where texts share groups; see `interval`. All NaN where a class is
    empty. Raises ValueError for a score that is NaN and for lengths that differ.
    """
    return auroc_and_error(scores, labels, groups)[0]


def auroc_and_error(
    scores: npt.NDArray[np.generic], labels: Bools, groups: npt.NDArray[np.integer] | None = None
) -> tuple[Auroc, float]:
    """Return the result of `auroc`, and its standard error; see `standard_error`. NaN where a class is empty."""
    if len(scores) != len(labels):
        raise ValueError(f"{len(scores)} scores and {len(labels)} labels")
    if np.isnan(scores).any():
        raise ValueError("a score is no number")
    clusters = Clusters.of(labels, groups)
    m, n = int(labels.sum()), int((~labels).sum())
    if not (m and n):
        return Auroc(np.nan, np.nan, np.nan), np.nan
    ranks = rankdata(scores)
    value = (ranks[labels].sum() - m * (m + 1) / 2) / (m * n)
    apart = np.empty(len(labels))
    apart[labels] = (ranks[labels] - rankdata(scores[labels])) / n - value
    apart[~labels] = 1 - (ranks[~labels] - rankdata(scores[~labels])) / m - value
    of_positives = np.bincount(clusters.of_text, apart * labels, len(clusters.positives))
    of_negatives = np.bincount(clusters.of_text, apart * ~labels, len(clusters.positives))
    sums = (np.array([a @ b]) for a, b in ((of_positives,) * 2, (of_negatives,) * 2, (of_positives, of_negatives)))
    variance = clusters.variance(*sums)
    low, high = interval(np.array([value]), variance, clusters)
    return Auroc(float(value), float(low[0]), float(high[0])), float(standard_error(variance, clusters)[0])


def column_aurocs(x: Columns, clusters: Clusters) -> Aurocs:
    """Compute the AUROC of each column of a block; all zeros of a column tie, so that without a nonzero it is 0.5.

    NaN where a class is empty. The interval assumes a normal limit: for a column with a handful of nonzeros it is a
    rough guide. Raises ValueError when columns and clusters have different numbers of texts.
    """
    labels = _labels_of(x, clusters)
    value = variance = np.full(x.n_columns, np.nan)
    if labels.any() and not labels.all():
        value, variance = _placed(x, labels, clusters)
    return Aurocs(value, *interval(value, variance, clusters))


def stratified_aurocs(x: Columns, strata: Clusters) -> Floats:
    """AUROC [n_columns] over the pairs of a positive and a negative text of the same stratum.

    It is the mean of the strata's AUROCs, weighted by their pairs. NaN where no stratum has both classes. Raises
    ValueError when columns and strata have different numbers of texts.
    """
    labels = _labels_of(x, strata)
    m, n = strata.positives.astype(np.int64), strata.negatives.astype(np.int64)
    pairs = int(m @ n)
    if not pairs:
        return np.full(x.n_columns, np.nan)
    segment, owner, stratum = touched(x, strata.of_text, len(m))
    here = labels[x.rows]
    below, positives_below = twice_below(segment, x.values, here)
    active = np.bincount(segment, here, len(owner)).astype(np.int64)
    m_zero, n_zero = m[stratum] - active, n[stratum] - np.bincount(segment, ~here, len(owner)).astype(np.int64)
    wins = np.bincount(segment, here * (below - positives_below), len(owner)) + (2 * active + m_zero) * n_zero
    # Where a column has no nonzero in a stratum, all of its pairs tie.
    return (pairs + np.bincount(owner, wins - m[stratum] * n[stratum], x.n_columns)) / (2 * pairs)


def _labels_of(x: Columns, clusters: Clusters) -> Bools:
    if len(clusters.labels) != x.n_rows:
        raise ValueError(f"{x.n_rows} rows and {len(clusters.labels)} labels")
    return clusters.labels


def _placed(x: Columns, labels: Bools, clusters: Clusters) -> tuple[Floats, Floats]:
    """AUROCs and their variances, from a placement for each nonzero and one for all zeros of a column and class."""
    owner, here = x.owners(), labels[x.rows]
    m, n = int(labels.sum()), int((~labels).sum())
    below, positives_below = twice_below(owner, x.values, here)
    negatives_below = below - positives_below
    active = np.bincount(owner, here, x.n_columns).astype(np.int64)
    m_zero = m - active
    n_zero = n - np.diff(x.starts) + active
    wins = np.bincount(owner, here * negatives_below, x.n_columns) + (2 * active + m_zero) * n_zero
    value = wins / (2 * m * n)
    zero_positive, zero_negative = n_zero / (2 * n) - value, 1 - m_zero / (2 * m) - value
    apart = np.where(
        here, (2 * n_zero[owner] + negatives_below) / (2 * n), 1 - (2 * m_zero[owner] + positives_below) / (2 * m)
    )
    apart -= value[owner]
    if len(clusters.positives) == len(labels):
        of_positives = np.bincount(owner, apart**2 * here, x.n_columns) + m_zero * zero_positive**2
        of_negatives = np.bincount(owner, apart**2 * ~here, x.n_columns) + n_zero * zero_negative**2
        return value, clusters.variance(of_positives, of_negatives, np.zeros(x.n_columns))
    return value, _clustered(x, here, apart, zero_positive, zero_negative, clusters)


def _clustered(
    x: Columns, here: Bools, apart: Floats, zero_positive: Floats, zero_negative: Floats, clusters: Clusters
) -> Floats:
    """Variances from the placements' deviations: `apart` [nnz], and [n_columns] of a positive and a negative zero."""
    pair, owner, cluster = touched(x, clusters.of_text, len(clusters.positives))
    kinds = []
    for chosen, zero, counts in ((here, zero_positive, clusters.positives), (~here, zero_negative, clusters.negatives)):
        zeros = counts[cluster] - np.bincount(pair, chosen, len(owner))
        kinds.append((np.bincount(pair, apart * chosen, len(owner)) + zeros * zero[owner], zero, counts))
    totals = []
    for kind, other in ((0, 0), (1, 1), (0, 1)):
        (found, zero, counts), (found_too, zero_too, counts_too) = kinds[kind], kinds[other]
        untouched = counts @ counts_too - np.bincount(owner, (counts * counts_too)[cluster], x.n_columns)
        totals.append(np.bincount(owner, found * found_too, x.n_columns) + untouched * zero * zero_too)
    return clusters.variance(*totals)
