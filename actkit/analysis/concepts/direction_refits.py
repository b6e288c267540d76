"""Fit a direction again to other pairs: those of one template, or of half of the stems."""

from typing import TypeVar

import numpy as np

from actkit.analysis.auroc import auroc
from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.concepts.directions import Direction, Split, direction, principal, unit
from actkit.analysis.concepts.logistic_direction import logistic_of_parts
from actkit.analysis.concepts.paired import Paired

Number = TypeVar("Number", Floats, Ints)
HALVES = 5
"""Splits of the training stems into two halves."""


def refitted(method: str, pairs: Paired, parts: Bools, strength: float) -> Floats:
    """[m, d_model] unit vectors, each of the pairs that are True in `parts` [n_pairs, m], two or more.

    `strength` is that of `logistic`: what cross-validation over all training pairs chose serves their parts. The parts
    should be alike, as halves at random are.
    """
    if method == "logistic":
        found = logistic_of_parts(pairs, parts, strength)
    elif method == "pca":
        found = np.stack([principal(pairs.where(part)).unit for part in parts.T])
    else:
        found = np.zeros((parts.shape[1], pairs.d_model))
        for here, difference in pairs.differences():
            found += parts[here].T.astype(np.float64) @ difference
    return np.stack([unit(vector) for vector in found])


def transfer(method: str, found: Direction, pairs: Paired, split: Split) -> tuple[float, float]:
    """AUROCs on the validation and on the test pairs of other templates than the one that is fitted.

    Each is the mean over templates; NaN of one.
    """
    values: list[list[float]] = []
    for template in np.unique(pairs.templates):
        fit, other = split.train & (pairs.templates == template), pairs.templates != template
        if fit.sum() >= 2 and (split.validation & other).any() and (split.test & other).any():
            fitted = direction(method, pairs.where(fit), found.strength).unit
            above, below = pairs.projected(fitted)
            values.append([auroc(*both(above, below, part & other)).value for part in (split.validation, split.test)])
    validation, test = np.mean(values, axis=0) if values else (float("nan"), float("nan"))
    return float(validation), float(test)


def split_half(method: str, found: Direction, pairs: Paired, seed: int) -> float:
    """Mean cosine of the directions of two halves of the stems, over HALVES splits; NaN for fewer than four stems."""
    rng = np.random.default_rng((seed, 0))
    names = np.unique(pairs.stems)
    if len(names) < 4:
        return float("nan")
    halves = np.stack([np.isin(pairs.stems, rng.permutation(names)[: len(names) // 2]) for _ in range(HALVES)], axis=1)
    halves = halves[:, np.minimum(halves.sum(0), (~halves).sum(0)) >= 2]
    if not halves.shape[1]:
        return float("nan")
    units = refitted(method, pairs, np.concatenate([halves, ~halves], axis=1), found.strength)
    return float((units[: halves.shape[1]] * units[halves.shape[1] :]).sum(1).mean())


def both(above: Number, below: Number, part: Bools) -> tuple[Number, Bools]:
    """Join values of both sides, such as projections [n_pairs] each, into one sample; and say which are positive."""
    return np.concatenate([above[part], below[part]]), np.repeat([True, False], int(part.sum()))
