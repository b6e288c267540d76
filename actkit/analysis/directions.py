"""Directions from contrast pairs: three ways to find one, and the split that keeps evidence apart from fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
METHODS = ("mean-diff", "pca", "logistic")
FEWEST_STEMS = 12
"""Stems below which nothing is held out."""
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation of the logistic regression, tried by cross-validation over stems."""


@dataclass(frozen=True)
class Direction:
    """One direction, from negative to positive."""

    unit: Floats
    """[d_model], of length 1."""
    norm: float
    """Of the mean difference; of the differences along it, root mean square (pca); NaN (logistic)."""


@dataclass(frozen=True)
class Paired:
    """Contrast pairs at one hook point."""

    positive: Floats
    negative: Floats
    """[n_pairs, d_model] float64 each; a row is a pair."""
    stems: Ints
    templates: Ints
    """[n_pairs] numbers that stand for the pair's stem and template."""

    def where(self, part: Bools) -> "Paired":
        """Some of the pairs."""
        return Paired(self.positive[part], self.negative[part], self.stems[part], self.templates[part])


@dataclass(frozen=True)
class Split:
    """Which pairs are fitted on, choose the layer, and are reported; [n_pairs] each."""

    train: Bools
    validation: Bools
    test: Bools


def split_pairs(stems: Ints, seed: int = 0, shares: Sequence[float] = (0.5, 0.25, 0.25)) -> Split | None:
    """Pairs split by stem [n_pairs], all pairs of a stem on one side; None when there are fewer than 12 stems."""
    names = np.unique(stems)
    if len(names) < FEWEST_STEMS:
        return None
    order = np.random.default_rng(seed).permutation(names)
    first, second = (round(sum(shares[:end]) * len(order)) for end in (1, 2))
    parts = (order[:first], order[first:second], order[second:])
    return Split(*(np.isin(stems, part) for part in parts))


def direction(method: str, pairs: Paired) -> Direction:
    """The direction of these pairs.

    `mean-diff` is the mean of the pair differences. `pca` is their first right singular vector without centring, which
    would take out the mean difference itself, with the sign that the mean difference has. `logistic` separates the two
    sides with an L2 penalty on standardised activations. Raises ValueError for fewer than two pairs.
    """
    if len(pairs.stems) < 2:
        raise ValueError(f"{len(pairs.stems)} pairs give no direction")
    difference = pairs.positive - pairs.negative
    if method == "mean-diff":
        mean = difference.mean(0)
        return Direction(_unit(mean), float(np.linalg.norm(mean)))
    if method == "pca":
        return principal(difference)
    if method == "logistic":
        return Direction(_unit(logistic(pairs.positive, pairs.negative, pairs.stems)), float("nan"))
    raise ValueError(f"no method {method}: there are {', '.join(METHODS)}")


def principal(difference: Floats) -> Direction:
    """The first right singular vector of differences [n_pairs, d_model], not centred, signed as their mean is."""
    # With fewer pairs than dimensions the small Gram matrix has the same singular values.
    values, vectors = np.linalg.eigh(difference @ difference.T)
    unit = _unit(difference.T @ vectors[:, -1])
    sign = 1.0 if float((difference @ unit).mean()) >= 0 else -1.0
    return Direction(sign * unit, float(np.sqrt(max(values[-1], 0.0) / len(difference))))


def logistic(positive: Floats, negative: Floats, stems: Ints | None, strength: float | None = None) -> Floats:
    """[d_model]: weights in the space of the activations; `strength` None chooses by cross-validation over stems."""
    x = np.concatenate([positive, negative])
    middle, scale = x.mean(0), x.std(0)
    scale[scale == 0] = 1
    # The penalty does not change under rotation, so that the fit needs no more dimensions than there are texts.
    left, values, right = np.linalg.svd((x - middle) / scale, full_matrices=False)
    small, y = left * values, np.repeat([1, 0], [len(positive), len(negative)])
    groups = np.tile(np.arange(len(positive)) if stems is None else stems, 2)
    chosen = _strength(small, y, groups) if strength is None else strength
    weights: Floats = (_fitted(small, y, chosen) @ right) / scale
    return weights


def cosines_between_methods(directions: dict[str, Direction]) -> dict[tuple[str, str], float]:
    """The cosine of each two methods' directions."""
    names = list(directions)
    return {
        (one, other): float(directions[one].unit @ directions[other].unit)
        for number, one in enumerate(names)
        for other in names[number + 1 :]
    }


def _strength(x: Floats, y: Ints, groups: Ints) -> float:
    from sklearn.model_selection import GroupKFold

    folds = min(4, len(np.unique(groups)))
    if folds < 2:
        return STRENGTHS[1]
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for fit, check in GroupKFold(folds).split(x, y, groups):
            margin = x[check] @ _fitted(x[fit], y[fit], strength) * np.where(y[check] == 1, 1, -1)
            loss += float(np.logaddexp(0, -margin).sum())
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _fitted(x: Floats, y: Ints, strength: float) -> Floats:
    from sklearn.linear_model import LogisticRegression

    weights: Floats = LogisticRegression(C=strength, max_iter=2000).fit(x, y).coef_[0]
    return weights


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
