"""Control of the false-discovery rate over many tests."""

import numpy as np

from actkit.analysis.columns import Floats


def benjamini_hochberg(p: Floats) -> Floats:
    """For each p [n] its q: the smallest false-discovery rate at which it is among the discoveries.

    The step-up procedure of Benjamini & Hochberg (1995), valid for tests that are independent or positively dependent.
    NaN stays NaN and does not count as a test. Raises ValueError for a p outside of 0 to 1.
    """
    p = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError("a p-value is outside of 0 to 1")
    found = np.full(p.shape, np.nan)
    order = np.flatnonzero(tested)[np.argsort(p[tested], kind="stable")]
    n = len(order)
    scaled = p[order] * n / np.arange(1, n + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
