"""Differences of stored numbers and the same computed again, by hook point and by SAE, and the tolerances for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tolerance:
    """Largest differences, each as a share of the Euclidean norm of the vector that was computed again."""

    vectors: float
    """Of an activation, as the norm of the difference."""
    features: float
    """Of a token's features, likewise, over the features that both have."""

    def stored_as(self, store_dtype: str) -> "Tolerance":
        """With what storing adds: float16 rounds numbers to 11 bits, so a vector by at most 2**-11 of its norm."""
        return replace(self, vectors=self.vectors + 2.0**-11) if store_dtype == "float16" else self


TOLERANCES = {
    "float32": Tolerance(5e-5, 2.5e-4),
    "bfloat16": Tolerance(8e-2, 4e-1),
    "float16": Tolerance(1e-2, 5e-2),
}
"""Measured on a CPU: runs of `dpo` in trees and batches of 4,096 tokens, the hook points of `sites.NATIVE` at every
layer, against the plain model. The largest differences of `tiny` (4 layers, 40 pairs) and of random models with weights
twice as wide as at initialisation (Llama of 24 layers, Gemma 2 of 26, 12 pairs) were:

| dtype | vectors, tiny | vectors, 24 and 26 layers | features, tiny |
|---|---|---|---|
| float32 | 1.4e-6 | 6.3e-6 | 9e-7 |
| bfloat16 | 2.0e-2 | 4.1e-2 | 1.0e-2 |
| float16 | 3.8e-3 | 5.3e-3 | 2.0e-3 |

All of the largest of the deep models are of `hook_mlp_out`, whose vectors are short beside the residual stream. Twice
that is allowed of 16 bits; five times as much of features, since an SAE may stretch some directions. In float32 the
kernels may differ as well (`backends.kernels`): a random Gemma 2 of 26 layers is then 1.5e-5 apart, where
the plain model itself is 1.1e-5 from its numbers in float64. 5e-5 is allowed; a wrong position, mask or norm is off by
far more."""
OTHER_ATTENTION = Tolerance(1e-3, 5e-3)
"""Smallest tolerance where the attention implementation is not the run's."""


def tolerance(dtype: str, store_dtype: str, same_attention: bool) -> Tolerance:
    """The tolerance of a model in `dtype`; an unknown dtype has that of bfloat16."""
    found = TOLERANCES.get(dtype, TOLERANCES["bfloat16"])
    if not same_attention:
        vectors, features = (
            max(getattr(found, name), getattr(OTHER_ATTENTION, name)) for name in ("vectors", "features")
        )
        found = Tolerance(vectors, features)
    return found.stored_as(store_dtype)


Floats = npt.NDArray[np.float64]


@dataclass
class Vectors:
    """Differences of the vectors of one hook point."""

    tolerance: float
    n: int = 0
    worst: float = 0.0
    where: str = ""
    """The vector that is furthest off."""

    def compare(self, stored: Floats, again: Floats, places: Sequence[str]) -> None:
        """Both [n, width]: the norm of the difference over the norm of what was computed again."""
        errors = relative(np.linalg.norm(stored - again, axis=1), np.linalg.norm(again, axis=1))
        self.n += len(errors)
        if len(errors) and (errors.max() > self.worst or not self.where):
            self.worst, self.where = float(errors.max()), places[int(errors.argmax())]

    @property
    def fails(self) -> bool:
        """Whether a vector is further off than it may be."""
        return not self.worst <= self.tolerance


@dataclass
class Features:
    """Differences of the features of one SAE and those encoded again."""

    tolerance: Tolerance
    n: int = 0
    """Tokens, or texts where features are pooled."""
    identical: int = 0
    """Of those, how many have the same features."""
    members: int = 0
    """Features that either has."""
    common: int = 0
    """Features that both have."""
    worst: float = 0.0
    """Largest norm of the difference over common features, over the norm of those computed again."""
    where: str = ""
    wrong: list[str] = field(default_factory=list)
    """Differences that are no rounding, the first few."""
    n_wrong: int = 0

    def count(self, stored: set[int], again: set[int], error: float, where: str) -> None:
        """Count one token or text."""
        self.n += 1
        self.identical += stored == again
        self.members += len(stored | again)
        self.common += len(stored & again)
        if error > self.worst or not self.where:
            self.worst, self.where = error, where

    def differs(self, what: str) -> None:
        """Count a difference that is no rounding."""
        self.n_wrong += 1
        if len(self.wrong) < 3:
            self.wrong.append(what)

    @property
    def fails(self) -> bool:
        """Whether there are such differences, or activations further off than they may be."""
        return self.n_wrong > 0 or not self.worst <= self.tolerance.features


def relative(difference: "Floats | np.floating", norm: "Floats | np.floating") -> Floats:
    """`difference` over `norm`; 0 where both are 0, infinite where only the norm is, or where one is no number."""
    difference, norm = np.asarray(difference, dtype=np.float64), np.asarray(norm, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(difference == 0, 0.0, difference / norm)
    result: Floats = np.where(np.isfinite(found), found, np.inf)
    return result
