"""Counting features holds no more than what it counts."""

import numpy as np

from actkit.analysis.contexts import Strongest
from actkit.analysis.feature_tally import BINS, Chunk, Tally, _look_again


def test_tokens_at_random_keep_nothing_else_in_memory() -> None:
    d_sae, n = 64, 2000
    found = Tally(np.zeros(d_sae, np.int64), np.zeros(d_sae), np.zeros((d_sae, BINS), np.int64), Strongest(d_sae, 4))
    rng = np.random.default_rng(0)
    for number in range(5):
        places = np.arange(n // 10) + number * n
        ids = rng.integers(0, d_sae, n).astype(np.int32)
        chunk = Chunk(ids, np.ones(n, np.float32), np.full(n // 10, 10), places, np.zeros(n // 10, np.int64))
        _look_again(chunk, found, np.ones(d_sae), np.full(d_sae, 0.01), 0.05)
    assert found.together
    held = {id(base): base.nbytes for base in (one if one.base is None else one.base for one in found.together)}
    assert sum(held.values()) == sum(one.nbytes for one in found.together)
