"""Confidence intervals of AUROCs from the placements of texts, which may come in groups.

A positive text's placement is the share of negative texts below it (ties count half); a negative one's, the share of
positive texts above it. AUROC is the mean of either (DeLong, DeLong & Clarke-Pearson 1988).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri, stdtrit

from actkit.analysis.columns import Bools, Floats, Ints

UPPER = 0.975
Z = float(ndtri(UPPER))
"""The upper end of a 95 % interval: its share, and its quantile of the normal distribution."""
CANCELLED = 1e-9
"""A remainder below this share of a sum is rounding."""
NO_VARIANCE = 1e-24
"""Below it a variance is rounding: one pair of 100,000 texts out of order leaves 1e-19."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of texts that belong together, with the number of texts of either class in each."""

    labels: Bools
    """[n] True: positive."""
    of_text: Ints
    """[n] cluster of each text, 0 to n_clusters - 1."""
    positives: Floats
    """[n_clusters] positive texts in each."""
    negatives: Floats

    @classmethod
    def of(cls, labels: Bools, groups: npt.NDArray[np.integer] | None) -> "Clusters":
        """Cluster texts [n] by group; without groups, each text is a cluster.

        Raises ValueError when labels and groups differ in length.
        """
        if groups is None:
            return cls(labels, np.arange(len(labels)), labels.astype(np.float64), (~labels).astype(np.float64))
        if len(groups) != len(labels):
            raise ValueError(f"{len(labels)} labels and {len(groups)} groups")
        _, of_text = np.unique(groups, return_inverse=True)
        counts = (np.bincount(of_text, chosen).astype(np.float64) for chosen in (labels, ~labels))
        return cls(labels, of_text, *counts)

    @property
    def are_shared(self) -> bool:
        """Whether texts share clusters."""
        return len(self.of_text) > len(self.positives)

    @property
    def with_positives(self) -> int:
        """Clusters that have a positive text."""
        return int((self.positives > 0).sum())

    @property
    def with_negatives(self) -> int:
        """Clusters that have a negative text."""
        return int((self.negatives > 0).sum())

    def variance(self, of_positives: Floats, of_negatives: Floats, products: Floats) -> Floats:
        """The variance of AUROCs, in Obuchowski's (1997) form for clustered data; DeLong's where no cluster is shared.

        A cluster's deviation is the sum of its placements less their expected sum. `of_positives` and `of_negatives`
        sum its square over clusters, for the texts of each class; `products` sums the products of the two. NaN where
        one class is in fewer than two clusters.
        """
        m, n = self.positives.sum(), self.negatives.sum()
        first, second, both = self.with_positives, self.with_negatives, len(self.positives)
        if min(first, second) < 2:
            return np.full(np.shape(of_positives), np.nan)
        alone: Floats = first / (first - 1) * of_positives / m**2 + second / (second - 1) * of_negatives / n**2
        found = alone + 2 * both / (both - 1) * products / (m * n)
        # Where both texts of every cluster have the same score, the two terms cancel to within rounding.
        return np.where(found > CANCELLED * alone, found, 0.0)


def interval(value: Floats, variance: Floats, clusters: Clusters) -> tuple[Floats, Floats]:
    """Return both ends of each AUROC's 95 % interval: Wald's on the logit scale, which stays within 0 to 1.

    Where texts share clusters, the quantile is Student's with one degree of freedom less than there are clusters (Korn
    & Graubard 1998), since few clusters determine the variance poorly. Simulated with whole groups of 4 texts, the
    normal interval covers the truth in 90 to 98 % of draws with 6 groups and in 92 to 94 % with 10; Student's covers it
    in 96 to 99 % and in 96 to 97 %. With two texts, one of each class, in each of 3 clusters Student's is too wide: 99
    to 100 %.

    A perfect separation has no variance. Its lower end is the highest that Wald gives any AUROC below 1 with so many
    clusters: with k pairs of texts the wrong way round, apart from one another, Wald's lower end is
    1 - k exp(z √(2 / k)) / (m n), which is largest at k = z² / 2. That also caps the lower ends of AUROCs below 1,
    however much their few misplaced texts resemble each other. Simulated with normal scores and 12 or 24 groups of 2 or
    4 texts a side, unlike or alike, 93 to 99 % of the intervals cover a truth of 0.95 to 0.999; without the cap, as few
    as 88 % do.

    Where there is no variance otherwise (everything tied, a class in one cluster), the interval is Newcombe's (2006,
    method 5) score interval. It inverts Hanley & McNeil's (1982) variance, and counts a cluster as one text. NaN where
    AUROC is NaN.
    """
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    wald = (variance > NO_VARIANCE) & (value > 0) & (value < 1)
    at = logit(value[wald])
    quantile = float(stdtrit(len(clusters.positives) - 1, UPPER)) if clusters.are_shared else Z
    half = quantile * np.sqrt(variance[wald]) / (value[wald] * (1 - value[wald]))
    best = _best_low(clusters, quantile)
    low[wald], high[wald] = np.minimum(expit(at - half), best), np.maximum(expit(at + half), 1 - best)
    rest = ~wald & ~np.isnan(value)
    m, n = clusters.with_positives, clusters.with_negatives
    low[rest], high[rest] = _score_low(value[rest], m, n), 1 - _score_low(1 - value[rest], m, n)
    low[rest & (value == 1)], high[rest & (value == 0)] = best, 1 - best
    return low, high


def standard_error(variance: Floats, clusters: Clusters) -> Floats:
    """Return the standard errors of AUROCs with these variances, at least that of an AUROC half a pair below 1.

    A perfect separation has no variance of its own, and a nearly perfect one hardly any. The least error is Hanley &
    McNeil's (1982) at 1 - 0.5 / (m n), half a pair of m and n texts the wrong way round (half a count is added as in
    Haldane 1956); a cluster counts as one text. It depends on the numbers of texts alone, so that an AUROC of 1, less
    its error, never reads worse than a lower one. Both classes must have texts.

    Simulated (`python -m tests.benchmarks.choice_error`: 8 to 24 stems of 1 to 3 texts a side) it is 0.9 to 1.2 times
    the AUROC's standard deviation where the truth is 0.6 to 0.97, and up to 3.7 times at 0.995. It makes no interval
    near 1, where few texts allow few values: from 0.97 on, one error on either side covers the truth in 0.54 to 0.99 of
    draws, not in 0.68.
    """
    m, n = clusters.with_positives, clusters.with_negatives
    nearly = 1 - 0.5 / (m * n)
    spread = (m - 1) * (nearly / (2 - nearly) - nearly**2) + (n - 1) * (2 * nearly**2 / (1 + nearly) - nearly**2)
    least = np.sqrt((nearly * (1 - nearly) + spread) / (m * n))
    return np.fmax(np.sqrt(variance), least)


def _best_low(clusters: Clusters, quantile: float) -> float:
    """The lower end of an AUROC of 1; see `interval`. With few clusters Newcombe's is the higher one."""
    m, n = clusters.with_positives, clusters.with_negatives
    if not m or not n:
        return 1.0
    wald = 1 - np.exp(2) * quantile**2 / 2 / (m * n) if min(m, n) > 1 else 0.0
    return max(float(wald), float(_score_low(np.ones(1), m, n)[0]))


def _score_low(value: Floats, m: int, n: int) -> Floats:
    """Find by bisection the AUROC that is Z standard errors below `value`."""
    low, high, star = np.zeros(value.shape), value.copy(), (m + n) / 2 - 1
    for _ in range(60):
        middle = (low + high) / 2
        spread = 1 + star * (1 - middle) / (2 - middle) + star * middle / (1 + middle)
        outside = (value - middle) ** 2 > Z**2 * middle * (1 - middle) * spread / (m * n)
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    found: Floats = (low + high) / 2
    return found


def accuracy_interval(correct: Floats, groups: Ints, texts: int) -> tuple[float, float]:
    """Return both ends of the 95 % interval around the mean of `correct` [n], shares of `texts` texts that are right.

    The interval is Wilson's (1927) for the effective number of texts: pairs of one of `groups` [n] may be right or
    wrong together. An interval that counts every text can miss the truth in a third of all cases.
    """
    share = float(correct.mean())
    return wilson(share, effective_texts(correct, groups, texts))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval for a share of n samples."""
    middle, reach = share + Z**2 / (2 * n), Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(float((middle - reach) / (1 + Z**2 / n)), 0.0), min(float((middle + reach) / (1 + Z**2 / n)), 1.0)


def effective_texts(correct: Floats, groups: Ints, texts: int) -> float:
    """Return the number of independent texts whose mean would vary as the mean of `correct` [n] does over groups [n].

    Korn & Graubard (1998): the binomial variance divided by the groups' own, times the squared ratio of the normal
    quantile to Student's; between 1 and all texts. Where groups do not vary, such as when all are right, it is the
    number of groups.
    """
    names, of_pair = np.unique(groups, return_inverse=True)
    share, n_groups = float(correct.mean()), len(names)
    apart = np.bincount(of_pair, correct - share)
    variance = n_groups / max(n_groups - 1, 1) * float(apart @ apart) / len(correct) ** 2
    if variance < NO_VARIANCE:
        return float(n_groups)
    few = Z / float(stdtrit(n_groups - 1, UPPER))
    return float(np.clip(share * (1 - share) / variance * few**2, 1, texts * len(correct)))
