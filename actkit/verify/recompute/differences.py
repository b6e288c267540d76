"""How far stored numbers are from the same computed again, counted hook point by hook point and SAE by SAE."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actkit.verify.recompute.tolerance import Tolerance

Floats = npt.NDArray[np.float64]


@dataclass
class Vectors:
    """How far the vectors of one hook point are apart."""

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
    """How far the features of one SAE are from those encoded again."""

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
