"""Directions from contrast pairs: three ways to find one, and the split that keeps evidence apart from fitting."""

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
    """Of the mean difference; of the differences along it, root mean square (pca); NaN (logistic)."""
    strength: float = float("nan")
    """Inverse regularisation that cross-validation chose (logistic); NaN for the others."""


@dataclass(frozen=True)
class Split:
    """Pairs to fit a direction on, to choose the layer by, and to report; masks [n_pairs]."""

    train: Bools
    validation: Bools
    test: Bools


def split_pairs(stems: Ints, seed: int = 0) -> Split | None:
    """Pairs split by stem [n_pairs], all pairs of a stem on one side; None when there are fewer than 12 stems.

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
    """The direction of these pairs.

    `mean-diff` is the mean of the pair differences. `pca` is their first right singular vector without centring, which
    would take out the mean difference itself, with the sign that the mean difference has. `logistic` separates the two
    sides with an L2 penalty on standardised activations, of that `strength` where it is given. Raises ValueError for
    fewer than two pairs and for a method that there is not.
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
    """The first right singular vector of the pairs' differences, not centred, signed as their mean is.

    It is the shift between the sides where the shift's square is more than the variance along any other direction, and
    that other direction where it is less.
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
    """The vector at length 1; all zeros as they are."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
