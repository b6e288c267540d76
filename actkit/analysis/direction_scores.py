"""Whether to believe a direction: what it does on pairs that did not make it, and what chance does there.

Everything here is by stem: pairs of one stem are never on both sides of a split, and count together in intervals.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from actkit.analysis.auroc import auroc
from actkit.analysis.directions import (
    Bools,
    Direction,
    Floats,
    Paired,
    Split,
    direction,
    logistic,
    principal,
)

SHUFFLES = {"mean-diff": 200, "pca": 200, "logistic": 20}
"""Refits with positive and negative exchanged at random."""
SHUFFLED_STRENGTH = 0.01
"""Inverse regularisation of those refits: to choose it each time would take minutes."""
RANDOM_DIRECTIONS = 200
HALVES = 5
"""Splits of the training stems into two halves."""
BAND = (2.5, 97.5)


@dataclass(frozen=True)
class Evidence:
    """What is known of one direction; NaN where it cannot be known. Held out: the test pairs."""

    auroc_train: float
    auroc_validation: float
    auroc_heldout: float
    """Chance that a positive text projects higher than a negative one."""
    auroc_heldout_low: float
    auroc_heldout_high: float
    """95 % interval (DeLong), clustered by stem."""
    accuracy_train: float
    accuracy_heldout: float
    """Share of texts on their side of the midpoint between the training means."""
    accuracy_heldout_low: float
    accuracy_heldout_high: float
    """95 % interval (Wilson) with as many samples as test pairs: the two texts of a pair are not independent."""
    pair_accuracy: float
    """Share of test pairs whose positive text projects higher; ties count half."""
    opposite: float
    """Share of test pairs whose difference points the other way."""
    cohens_d: float
    """Difference of the test means along the direction, in pooled standard deviations."""
    cohens_d_validation: float
    auroc_transfer: float
    """AUROC on the test stems in other templates than the one that was fitted; mean over templates."""
    pairwise_cosine: float
    """Mean cosine of two pairs' differences, all pairs."""
    split_half_cosine: float
    """Mean cosine of the directions of two halves of the training stems."""
    shuffled_low: float
    shuffled_high: float
    """95 % band of the held-out AUROC when positive and negative are exchanged at random, stem by stem."""
    random_low: float
    random_high: float
    """95 % band of the held-out AUROC of random directions, sign as it falls."""


def score(method: str, found: Direction, pairs: Paired, split: Split, seed: int) -> Evidence:
    """Score a direction that was fitted to the pairs of `split.train`."""
    positive, negative, stems = pairs.positive, pairs.negative, pairs.stems
    rng = np.random.default_rng(seed)
    above, below = positive @ found.unit, negative @ found.unit
    train, validation, test = split.train, split.validation, split.test
    held = auroc(*_texts(above, below, test), np.tile(stems[test], 2))
    middle = (above[train].mean() + below[train].mean()) / 2
    accuracy = _accuracy(above[test], below[test], middle)
    low, high = _wilson(accuracy, int(test.sum()))
    shuffled = _shuffled(method, pairs, split, rng)
    noise = rng.normal(size=(positive.shape[1], RANDOM_DIRECTIONS))
    chance = _aurocs(positive[test] @ noise, negative[test] @ noise)
    return Evidence(
        auroc(*_texts(above, below, train)).value,
        auroc(*_texts(above, below, validation)).value,
        held.value,
        held.low,
        held.high,
        _accuracy(above[train], below[train], middle),
        accuracy,
        low,
        high,
        float((np.sign(above[test] - below[test]) / 2 + 0.5).mean()),
        float((above[test] < below[test]).mean()),
        _cohens_d(above[test], below[test]),
        _cohens_d(above[validation], below[validation]),
        _transfer(method, pairs, split),
        pairwise_cosine(positive - negative),
        _split_half(method, pairs.where(train), rng),
        *(float(one) for one in np.percentile(shuffled, BAND)),
        *(float(one) for one in np.percentile(chance, BAND)),
    )


def pairwise_cosine(difference: Floats) -> float:
    """Mean cosine of two different pairs' differences [n_pairs, d_model]; NaN for fewer than two that are not zero."""
    lengths = np.linalg.norm(difference, axis=1)
    units = difference[lengths > 0] / lengths[lengths > 0][:, None]
    n = len(units)
    if n < 2:
        return float("nan")
    return float((np.square(units.sum(0)).sum() - n) / (n * (n - 1)))


def _texts(above: Floats, below: Floats, part: Bools) -> tuple[Floats, Bools]:
    """Both sides' projections as one sample, and which are positive."""
    return np.concatenate([above[part], below[part]]), np.repeat([True, False], int(part.sum()))


def _accuracy(above: Floats, below: Floats, middle: float) -> float:
    return float(((above > middle).mean() + (below <= middle).mean()) / 2)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n."""
    z = 1.959963984540054
    middle, reach = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((middle - reach) / (1 + z**2 / n)), float((middle + reach) / (1 + z**2 / n))


def _cohens_d(above: Floats, below: Floats) -> float:
    if len(above) < 2:
        return float("nan")
    spread = np.sqrt((above.var(ddof=1) + below.var(ddof=1)) / 2)
    return float((above.mean() - below.mean()) / spread) if spread else float("nan")


def _aurocs(above: Floats, below: Floats) -> Floats:
    """[m] of projections on m directions, [n_pairs, m] each."""
    n = len(above)
    ranks = stats.rankdata(np.concatenate([above, below]), axis=0)
    found: Floats = (ranks[:n].sum(0) - n * (n + 1) / 2) / (n * n)
    return found


def _shuffled(method: str, pairs: Paired, split: Split, rng: np.random.Generator) -> Floats:
    """Held-out AUROCs where the sides are exchanged at random, stem by stem, in training and test pairs alike.

    Test pairs too: else what is really there would widen the band of what chance does.
    """
    names, of_stem = np.unique(pairs.stems, return_inverse=True)
    signs = rng.choice([-1.0, 1.0], size=(SHUFFLES[method], len(names)))[:, of_stem]
    difference, middle = pairs.positive - pairs.negative, (pairs.positive + pairs.negative) / 2
    train, test, fit = split.train, split.test, signs[:, split.train]
    if method == "mean-diff":
        units = fit @ difference[train]
    elif method == "pca":
        # Exchanging sides leaves the singular vector as it is and turns its sign alone.
        unit = principal(difference[train]).unit
        units = np.sign(fit @ (difference[train] @ unit))[:, None] * unit
    else:
        moved = (one[:, None] * difference[train] / 2 for one in fit)
        units = np.stack([logistic(middle[train] + one, middle[train] - one, None, SHUFFLED_STRENGTH) for one in moved])
    between, apart = middle[test] @ units.T, signs[:, test].T * (difference[test] @ units.T) / 2
    return _aurocs(between + apart, between - apart)


def _transfer(method: str, pairs: Paired, split: Split) -> float:
    found = []
    for one in np.unique(pairs.templates):
        fit, check = split.train & (pairs.templates == one), split.test & (pairs.templates != one)
        if fit.sum() < 2 or not check.any():
            continue
        unit = direction(method, pairs.where(fit)).unit
        found.append(auroc(*_texts(pairs.positive @ unit, pairs.negative @ unit, check)).value)
    return float(np.mean(found)) if found else float("nan")


def _split_half(method: str, pairs: Paired, rng: np.random.Generator) -> float:
    names = np.unique(pairs.stems)
    found = []
    for _ in range(HALVES if len(names) >= 4 else 0):
        half = np.isin(pairs.stems, rng.permutation(names)[: len(names) // 2])
        if min(half.sum(), (~half).sum()) >= 2:
            one, other = (direction(method, pairs.where(part)) for part in (half, ~half))
            found.append(float(one.unit @ other.unit))
    return float(np.mean(found)) if found else float("nan")
