"""Logistic regression between the two sides of contrast pairs, fast enough to be refitted often."""

from dataclasses import dataclass

import numpy as np

from actkit.analysis.columns import Bools, Floats, Ints

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation, tried by cross-validation over stems."""
FOLDS = 4
TOLERANCE = 1e-6
"""Of the gradient. At scikit-learn's own, 1e-4, weights are up to 3 % away from where they end, and no faster."""
DEFAULT_STRENGTH = 1e-2
"""Where there is one stem, so that nothing can be tried."""


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
    def of(cls, texts: Floats) -> "Reduced":
        """The reduction of activations [n, d_model] float64 that were float32."""
        middle, scale = texts.mean(0), texts.std(0)
        # What varies by float32's rounding alone must not be blown up to the size of what varies.
        scale[scale <= np.finfo(np.float32).eps * np.abs(texts).max(0)] = 1
        rotation, upper = np.linalg.qr(((texts - middle) / scale).T)
        return cls(upper.T, rotation, scale)

    def weights(self, positive: Bools, strength: float) -> Floats:
        """[d_model] in the space of the activations, for labels [n]; `strength` is inverse regularisation."""
        found: Floats = (self.rotation @ _fitted(self.texts, positive, strength)[0]) / self.scale
        return found


def logistic(positive: Floats, negative: Floats, stems: Ints, strength: float | None = None) -> Floats:
    """[d_model]: weights in the space of the activations [n_pairs, d_model]; their length means nothing.

    L2-regularised, with an intercept, on all dimensions standardised over both sides. `strength`, the inverse of the
    regularisation, is chosen by cross-validation over stems [n_pairs] where it is None.
    """
    reduced = Reduced.of(np.concatenate([positive, negative]))
    labels = np.repeat([True, False], len(positive))
    chosen = best_strength(reduced.texts, labels, np.tile(stems, 2)) if strength is None else strength
    return reduced.weights(labels, chosen)


def best_strength(texts: Floats, positive: Bools, groups: Ints) -> float:
    """The one of STRENGTHS with the least log loss on folds [n] of whole groups; the stronger penalty where equal."""
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(groups)))
    if folds < 2:
        return DEFAULT_STRENGTH
    parts = list(GroupKFold(folds).split(texts, positive, groups))
    losses = [sum(_loss(texts, positive, strength, *part) for part in parts) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _loss(texts: Floats, positive: Bools, strength: float, fit: Ints, check: Ints) -> float:
    weights, intercept = _fitted(texts[fit], positive[fit], strength)
    margin = (texts[check] @ weights + intercept) * np.where(positive[check], 1, -1)
    return float(np.logaddexp(0, -margin).sum())


def _fitted(texts: Floats, positive: Bools, strength: float) -> tuple[Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=2000).fit(texts, positive)
    return model.coef_[0], float(model.intercept_[0])
