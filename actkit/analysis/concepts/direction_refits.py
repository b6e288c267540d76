"""What comes of a direction that is fitted to other pairs: one template's, or half of the stems."""

import numpy as np

from actkit.analysis.auroc import auroc
from actkit.analysis.columns import Bools, Floats
from actkit.analysis.concepts.directions import Split, direction
from actkit.analysis.concepts.paired import Paired

HALVES = 5
"""Splits of the training stems into two halves."""


def transfer(method: str, pairs: Paired, split: Split) -> float:
    """AUROC on the test pairs of other templates than the one that is fitted; mean over templates, NaN of one."""
    found = []
    for one in np.unique(pairs.templates):
        fit, check = split.train & (pairs.templates == one), split.test & (pairs.templates != one)
        if fit.sum() < 2 or not check.any():
            continue
        checked = pairs.where(check)
        projected = checked.projected(direction(method, pairs.where(fit)).unit)
        found.append(auroc(*both(*projected, np.ones(len(checked.stems), dtype=np.bool_))).value)
    return float(np.mean(found)) if found else float("nan")


def split_half(method: str, pairs: Paired, seed: int) -> float:
    """Mean cosine of the directions of two halves of the stems, over HALVES splits; NaN for fewer than four stems."""
    rng = np.random.default_rng((seed, 0))
    names = np.unique(pairs.stems)
    found = []
    for _ in range(HALVES if len(names) >= 4 else 0):
        half = np.isin(pairs.stems, rng.permutation(names)[: len(names) // 2])
        if min(half.sum(), (~half).sum()) >= 2:
            one, other = (direction(method, pairs.where(part)) for part in (half, ~half))
            found.append(float(one.unit @ other.unit))
    return float(np.mean(found)) if found else float("nan")


def both(above: Floats, below: Floats, part: Bools) -> tuple[Floats, Bools]:
    """Both sides' projections as one sample, and which are positive."""
    return np.concatenate([above[part], below[part]]), np.repeat([True, False], int(part.sum()))
