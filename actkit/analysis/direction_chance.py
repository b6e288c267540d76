"""What chance achieves where a direction is scored: sides exchanged at random, and directions drawn at random."""

import numpy as np
from scipy.stats import rankdata

from actkit.analysis.columns import Floats
from actkit.analysis.directions import Paired, Split, principal
from actkit.analysis.logistic_direction import Reduced

EXCHANGES = {"mean-diff": 200, "pca": 200, "logistic": 100}
"""Refits with positive and negative exchanged at random."""
EXCHANGED_STRENGTH = 1e-2
"""Inverse regularisation of those refits. Cross-validation chooses this or less for nearly all exchanged sides, with
the same band; what it chooses for the real sides would make the band too narrow."""
RANDOM_DIRECTIONS = 200
BAND = (2.5, 97.5)


def exchanged_band(method: str, pairs: Paired, split: Split, seed: int) -> tuple[float, float]:
    """The middle 95 % of held-out AUROCs where the sides are exchanged at random and the direction is refitted.

    If the two sides meant nothing, exchanging them would change nothing: not for the training pairs, nor for the test
    pairs, nor for some pairs of a stem alone, since these resemble each other. So whole stems are exchanged, on both
    sides of the split. With the test pairs left as they are, a shift that is really there would widen the band: every
    refit of `pca` finds it, and has an AUROC near 1 or near 0.
    """
    rng = np.random.default_rng((seed, 1))
    names, of_stem = np.unique(pairs.stems, return_inverse=True)
    signs = rng.choice([-1.0, 1.0], size=(EXCHANGES[method], len(names)))[:, of_stem]
    units = _refitted(method, pairs.where(split.train), signs[:, split.train])
    positive, negative = pairs.positive[split.test] @ units.T, pairs.negative[split.test] @ units.T
    kept = signs[:, split.test].T > 0
    return _band(aurocs(np.where(kept, positive, negative), np.where(kept, negative, positive)))


def random_band(pairs: Paired, split: Split, seed: int) -> tuple[float, float]:
    """The middle 95 % of held-out AUROCs of random Gaussian directions, not folded: below 0.5 as often as above.

    It is wide where most directions tell the sides apart, which then says little for the one that was found.
    """
    noise = np.random.default_rng((seed, 2)).normal(size=(pairs.positive.shape[1], RANDOM_DIRECTIONS))
    return _band(aurocs(pairs.positive[split.test] @ noise, pairs.negative[split.test] @ noise))


def aurocs(above: Floats, below: Floats) -> Floats:
    """[m] AUROCs of what the two sides project to on m directions, [n_pairs, m] each; ties count half."""
    n = len(above)
    ranks = rankdata(np.concatenate([above, below]), axis=0)
    found: Floats = (ranks[:n].sum(0) - n * (n + 1) / 2) / (n * n)
    return found


def _refitted(method: str, train: Paired, signs: Floats) -> Floats:
    """[m, d_model] directions of training pairs with the sides exchanged where signs [m, n_pairs] are -1."""
    difference = train.positive - train.negative
    if method == "mean-diff":
        return signs @ difference
    if method == "pca":
        # Exchanging sides leaves the singular vector as it is and turns its sign alone.
        unit = principal(difference).unit
        return np.sign(signs @ (difference @ unit))[:, None] * unit
    # Nor does it change which texts there are: one reduction serves every refit.
    reduced = Reduced.of(np.concatenate([train.positive, train.negative]))
    labels = np.concatenate([signs > 0, signs < 0], axis=1)
    return np.stack([reduced.weights(one, EXCHANGED_STRENGTH) for one in labels])


def _band(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, BAND)
    return float(low), float(high)
