"""A confidence interval of an accuracy over texts that come in groups."""

import numpy as np
from scipy import stats

from actkit.analysis.columns import Floats, Ints

NO_VARIANCE = 1e-24
"""Below it a variance is rounding."""


def accuracy_interval(correct: Floats, groups: Ints, texts: int, confidence: float = 0.95) -> tuple[float, float]:
    """Both ends of the interval around the mean of `correct` [n], each the share of `texts` texts that are right.

    Wilson's (1927), with the number of independent texts that these are worth: pairs of one of `groups` [n] may go
    right and wrong together. An interval that counts each of them can miss the truth in a third of all cases.
    """
    share = float(correct.mean())
    return wilson(share, effective_texts(correct, groups, texts, confidence), confidence)


def wilson(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) interval of a share of n."""
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    middle, reach = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(float((middle - reach) / (1 + z**2 / n)), 0.0), min(float((middle + reach) / (1 + z**2 / n)), 1.0)


def effective_texts(correct: Floats, groups: Ints, texts: int, confidence: float = 0.95) -> float:
    """How many independent texts would give the variance that the mean of `correct` [n] has over groups [n].

    Korn & Graubard (1998): the binomial variance by the groups' own, made smaller for few groups by the quantiles of
    the normal and of Student's distribution; between 1 and all of the texts. The number of groups where they do not
    vary, such as when all are right.
    """
    names, of_pair = np.unique(groups, return_inverse=True)
    share, n_groups = float(correct.mean()), len(names)
    apart = np.bincount(of_pair, correct - share)
    variance = n_groups / max(n_groups - 1, 1) * float(apart @ apart) / len(correct) ** 2
    if variance < NO_VARIANCE:
        return float(n_groups)
    level = 0.5 + confidence / 2
    few = float(stats.norm.ppf(level) / stats.t.ppf(level, n_groups - 1))
    return float(np.clip(share * (1 - share) / variance * few**2, 1, texts * len(correct)))
