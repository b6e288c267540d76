"""Logistic regression between the two sides of contrast pairs, fast enough to be refitted often.

Few texts are held in memory, in a rotation that needs no more dimensions than there are texts, and scikit-learn fits
them. Of more, `Passes` has the same minimum, several regressions at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.concepts.logistic_passes import Passes, Targets
from actkit.analysis.concepts.paired import Paired

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation, tried by cross-validation over stems."""
FOLDS = 4
TOLERANCE = 1e-6
"""Of the gradient. At scikit-learn's own, 1e-4, weights are up to 3 % away from where they end, and no faster."""
DEFAULT_STRENGTH = 1e-2
"""Where there is one stem, so that nothing can be tried."""
FEW = 1024
"""Texts up to which a fit is in memory; in more dimensions, up to as many as these. With 2,000 texts of 192 dimensions
all fits of a layer take a third of the time in passes, with 2,600 of 2,304 two thirds."""
Kept = Callable[[slice], Bools]
"""Pairs [k] → [k, m] for each of m exchanges whether a pair's sides stay as they are."""


@dataclass(frozen=True)
class Reduced:
    """Standardised texts, in a rotation that needs no more dimensions than there are texts.

    An L2 penalty does not change under rotation, so that a fit here is the fit to the standardised activations.
    """

    texts: Floats
    """[n, k], k the smaller of n and d_model."""
    rotation: Floats
    """[d_model, k], orthonormal columns."""
    scale: Floats
    """[d_model] standard deviations; 1 for a dimension that does not vary."""

    @classmethod
    def of(cls, pairs: Paired) -> "Reduced":
        """The reduction of the texts of some pairs, all positive ones before all negative ones."""
        _, *sides = zip(*pairs.blocks(), strict=True)
        texts = np.concatenate([block for side in sides for block in side])
        middle, scale = texts.mean(0), texts.std(0)
        # What varies by float32's rounding alone must not be blown up to the size of what varies.
        scale[scale <= np.finfo(np.float32).eps * np.abs(texts).max(0)] = 1
        rotation, upper = np.linalg.qr(((texts - middle) / scale).T)
        return cls(upper.T, rotation, scale)

    def weights(self, positive: Bools, strength: float) -> Floats:
        """[d_model] in the space of the activations, for labels [n]; `strength` is inverse regularisation."""
        found: Floats = (self.rotation @ _fitted(self.texts, positive, strength)[0]) / self.scale
        return found


def logistic(pairs: Paired, strength: float | None = None) -> Floats:
    """[d_model]: weights in the space of the activations; their length means nothing.

    L2-regularised, with an intercept, on all dimensions standardised over both sides. `strength`, the inverse of the
    regularisation, is chosen by cross-validation over stems where it is None.
    """
    if not few(pairs):
        passes = Passes.of(pairs)
        best, start = (strength, None) if strength is not None else _best_in_passes(passes)
        found: Floats = passes.mapped(passes.weights(_every, _texts(pairs), np.array([best]), start))[0]
        return found
    reduced = Reduced.of(pairs)
    labels = np.repeat([True, False], len(pairs.stems))
    chosen = best_strength(reduced.texts, labels, np.tile(pairs.stems, 2)) if strength is None else strength
    return reduced.weights(labels, chosen)


def exchanged(pairs: Paired, kept: Kept, count: int, strength: float) -> Floats:
    """[count, d_model] what `logistic` gives where the sides of the pairs that are not `kept` are exchanged.

    Which texts there are does not change with it: one standardisation serves every refit.
    """
    if not few(pairs):
        passes = Passes.of(pairs)
        sizes = np.repeat(_texts(pairs), count)
        signs: Targets = lambda here: np.where(kept(here), 1.0, -1.0)  # noqa: E731
        return passes.mapped(passes.weights(signs, sizes, np.full(count, strength)))
    reduced = Reduced.of(pairs)
    labels = kept(slice(0, len(pairs.stems))).T
    return np.stack([reduced.weights(np.concatenate([one, ~one]), strength) for one in labels])


def few(pairs: Paired) -> bool:
    """Whether the texts of these pairs are held in memory to be fitted."""
    return 2 * len(pairs.stems) <= max(FEW, pairs.d_model)


def best_strength(texts: Floats, positive: Bools, groups: Ints) -> float:
    """The one of STRENGTHS with the least log loss on folds [n] of whole groups; the stronger penalty where equal."""
    folds = _folds(groups)
    if folds is None:
        return DEFAULT_STRENGTH
    parts = [(folds != one, folds == one) for one in range(folds.max() + 1)]
    losses = [sum(_loss(texts, positive, strength, *part) for part in parts) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _best_in_passes(passes: Passes) -> tuple[float, Floats | None]:
    """What `best_strength` gives for all pairs, and the mean [1, d_model + 1] of the weights that its folds have."""
    folds = _folds(passes.pairs.stems)
    if folds is None:
        return DEFAULT_STRENGTH, None
    counts = 2 * np.bincount(folds)
    out, strengths = np.repeat(np.arange(len(counts)), len(STRENGTHS)), np.tile(STRENGTHS, len(counts))
    weights = passes.weights(
        lambda here: np.where(folds[here, None] == out, 0.0, 1.0), counts.sum() - counts[out], strengths
    )
    losses, _ = passes.losses(weights, lambda here: np.where(folds[here, None] == out, 1.0, 0.0))
    best = STRENGTHS[int(np.argmin(losses.reshape(len(counts), -1).sum(0)))]
    return best, weights[strengths == best].mean(0, keepdims=True)


def _every(here: slice) -> Floats:
    return np.ones((here.stop - here.start, 1))


def _texts(pairs: Paired) -> Ints:
    return np.array([2 * len(pairs.stems)])


def _folds(groups: Ints) -> npt.NDArray[np.int8] | None:
    """[n] the fold of each text, whole groups to each; None where there is one group."""
    from sklearn.model_selection import GroupKFold

    count = min(FOLDS, len(np.unique(groups)))
    if count < 2:
        return None
    folds = np.zeros(len(groups), dtype=np.int8)
    for number, (_, checked) in enumerate(GroupKFold(count).split(groups, groups=groups)):
        folds[checked] = number
    return folds


def _loss(texts: Floats, positive: Bools, strength: float, fit: Bools, check: Bools) -> float:
    weights, intercept = _fitted(texts[fit], positive[fit], strength)
    margin = (texts[check] @ weights + intercept) * np.where(positive[check], 1, -1)
    return float(np.logaddexp(0, -margin).sum())


def _fitted(texts: Floats, positive: Bools, strength: float) -> tuple[Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=2000).fit(texts, positive)
    return model.coef_[0], float(model.intercept_[0])
