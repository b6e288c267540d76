"""Directions from contrast pairs: three methods that fit them, and the split that keeps evidence apart from fitting."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.concepts.logistic_direction import logistic
from actkit.analysis.concepts.paired import Paired

METHODS = ("mean-diff", "pca", "logistic")
FEWEST_PAIRS = 2
"""Pairs below which no direction is fitted."""
FEWEST_STEMS = 12
"""Stems below which nothing is held out."""


@dataclass(frozen=True)
class Direction:
    """One direction, from negative to positive."""

    unit: Floats
    """[d_model], of length 1; all zeros where the two sides do not differ."""
    norm: float
    """Norm of the mean difference (mean-diff); root mean square of the differences along it (pca); NaN (logistic)."""
    strength: float = float("nan")
    """Inverse regularisation that cross-validation chose (logistic); NaN for the others."""


@dataclass(frozen=True)
class Split:
    """Pairs to fit a direction on, to choose the layer by, and to report; masks [n_pairs]."""

    train: Bools
    validation: Bools
    test: Bools


def split_pairs(stems: Ints, seed: int = 0) -> Split | None:
    """Split pairs by stem [n_pairs], all pairs of a stem into one part; None when there are fewer than 12 stems.

    Half of the stems are for training, a quarter for validation, a quarter for the test. The same stems and seed give
    the same split, in whatever order the pairs come.
    """
    names = np.unique(stems)
    if len(names) < FEWEST_STEMS:
        return None
    order = np.random.default_rng(seed).permutation(names)
    first, second = (round(share * len(order)) for share in (0.5, 0.75))
    parts = (order[:first], order[first:second], order[second:])
    return Split(*(np.isin(stems, part) for part in parts))


def direction(method: str, pairs: Paired, strength: float | None = None) -> Direction:
    """Fit a direction to these pairs.

    `mean-diff` is the mean of the pair differences. `pca` is their first right singular vector, with the sign of their
    mean; they are not centred, since that would remove the mean. `logistic` separates the two sides of standardised
    activations with an L2 penalty, of this `strength` where it is given. Raises ValueError for fewer than two pairs and
    for an unknown method.
    """
    if len(pairs.stems) < 2:
        raise ValueError(f"{len(pairs.stems)} pairs give no direction")
    if method == "mean-diff":
        mean = _mean(pairs)
        return Direction(unit(mean), float(np.linalg.norm(mean)))
    if method == "pca":
        return principal(pairs)
    if method == "logistic":
        weights, strength = logistic(pairs, strength)
        return Direction(unit(weights), float("nan"), strength)
    raise ValueError(f"no method {method}: there are {', '.join(METHODS)}")


def principal(pairs: Paired) -> Direction:
    """Return the first right singular vector of the pairs' differences, not centred, with the sign of their mean.

    It follows the shift between the sides where the shift's square is more than the variance along any other direction;
    where it is less, it follows that other direction.
    """
    n, d = len(pairs.stems), pairs.d_model
    # The smaller of the two Gram matrices: both have the squared singular values.
    if n < d:
        difference = np.concatenate([block for _, block in pairs.differences()])
        largest, vector = _largest(difference @ difference.T)
        found = unit(difference.T @ vector)
    else:
        gram = np.zeros((d, d))
        for _, difference in pairs.differences():
            gram += difference.T @ difference
        largest, found = _largest(gram)
        found = found * bool(largest > 0)
    sign = 1.0 if float(_mean(pairs) @ found) >= 0 else -1.0
    return Direction(sign * found, float(np.sqrt(max(largest, 0.0) / n)))


def _mean(pairs: Paired) -> Floats:
    """[d_model] the mean of the differences."""
    total = np.zeros(pairs.d_model)
    for _, difference in pairs.differences():
        total += difference.sum(0)
    return total / len(pairs.stems)


def _largest(gram: Floats) -> tuple[float, Floats]:
    """The largest eigenvalue of a symmetric matrix [d, d], and its eigenvector [d]."""
    values, vectors = eigh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])
    return float(values[0]), vectors[:, 0]


def unit(vector: Floats) -> Floats:
    """Scale a vector to length 1; zeros stay zeros."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
