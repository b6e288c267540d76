"""Compare a score with length: AUROC of the number of tokens alone, and of the score among texts of similar length."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from actkit.analysis.auroc import Auroc, auroc
from actkit.analysis.columns import Bools, Floats, Ints

MOST, FEWEST = 50, 8
"""The most classes of length, and about the fewest texts of a class."""
LEFT = 0.05
"""Where the AUROC of length within classes is further than this from 0.5, they adjust for length only in part."""


def length_strata(lengths: Ints) -> Ints:
    """[n] the class of similar length of each text: at most MOST classes, of about FEWEST texts or more each.

    Many narrow classes adjust best. Where length alone had an AUROC of 0.81, it had 0.57 within them with 50 texts,
    0.54 with 80 and 0.51 from 240 on. In ten classes of 40 or more it had 0.81, 0.69 and 0.57, and none was steadier.
    """
    classes = max(min(MOST, len(lengths) // FEWEST), 1)
    edges = np.quantile(lengths, np.arange(1, classes) / classes)
    found: Ints = np.searchsorted(edges, lengths, side="right")
    return found


def strata_of(lengths: Ints) -> Ints | None:
    """`length_strata`; None where there are too few texts to tell lengths apart."""
    strata = length_strata(lengths)
    return strata if len(np.unique(strata)) > 1 or not np.ptp(lengths) else None


def stratified_auroc(scores: Floats, labels: Bools, strata: Ints) -> float:
    """AUROC over the pairs of a positive and a negative text of the same one of `strata` [n]; NaN without such pairs.

    It is the mean of the strata's AUROCs, weighted by their pairs. Ties count half.
    """
    wins = pairs = 0.0
    for stratum in np.unique(strata):
        some, positive = scores[strata == stratum], labels[strata == stratum]
        m, n = int(positive.sum()), int((~positive).sum())
        wins += float(rankdata(some)[positive].sum()) - m * (m + 1) / 2 if n else 0.0
        pairs += m * n
    return wins / pairs if pairs else float("nan")


def spearman(scores: Floats, lengths: Floats | Ints) -> float:
    """Spearman's correlation of scores [n] with lengths [n]; NaN where either does not vary."""
    if not (np.ptp(scores) and np.ptp(lengths)):
        return float("nan")
    found = float(np.corrcoef(rankdata(scores), rankdata(lengths))[0, 1])
    return min(max(found, -1.0), 1.0)


@dataclass(frozen=True)
class LengthCheck:
    """The lengths of texts of both labels, with which scores of the same texts are compared."""

    lengths: Ints
    positive: Bools
    """[n] each."""
    strata: Ints | None
    only: Auroc
    """AUROC of the number of tokens alone."""

    @classmethod
    def of(cls, lengths: Ints, positive: Bools, groups: Ints | None) -> "LengthCheck":
        """Make the check of texts [n] with these numbers of tokens; texts of one of `groups` [n] belong together."""
        only = auroc(lengths.astype(np.float64), positive, groups)
        return cls(lengths, positive, strata_of(lengths), only)

    def spearman(self, scores: Floats) -> float:
        """Spearman's correlation of scores [n] with the number of tokens; NaN where either does not vary."""
        return spearman(scores, self.lengths)

    def adjusted(self, scores: Floats) -> float:
        """AUROC of scores [n] among texts of similar length; NaN where too few texts are."""
        return float("nan") if self.strata is None else stratified_auroc(scores, self.positive, self.strata)
