"""Features that are active together: what counting token by token finds."""

import numpy as np
import pytest

from actkit.analysis import co_active as module
from actkit.analysis.co_active import co_active


@pytest.mark.quick(1)
@pytest.mark.parametrize(("small", "block"), [(2, 7), (32, 1024)])
def test_the_most_often_active_together_are_those_of_counting(
    small: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties go to the lower id; a feature is not its own partner; rare ones have none."""
    monkeypatch.setattr(module, "SMALL", small)
    monkeypatch.setattr(module, "BLOCK", block)
    draw, d_sae = np.random.default_rng(0), 60
    odds = 1 / np.arange(1, d_sae + 1)
    tokens = [draw.choice(d_sae, draw.integers(0, 9), replace=False, p=odds / odds.sum()) for _ in range(300)]
    tokens += [np.array([58, 59])] * 12  # two that are active with each other alone
    lengths = np.array([len(token) for token in tokens])
    ids = np.concatenate(tokens).astype(np.int32)
    counts = np.bincount(ids, minlength=d_sae)
    active = [set(token.tolist()) for token in tokens]
    found = co_active(ids, lengths, d_sae).to_pylist()
    assert len(found) == d_sae and 10 < sum(row is not None for row in found) < d_sae
    for feature, row in enumerate(found):
        if counts[feature] < 10:
            assert row is None
            continue
        both = {other: sum({feature, other} <= each for each in active) for other in range(d_sae)}
        best = sorted((other for other in both if both[other] and other != feature), key=lambda o: (-both[o], o))[:8]
        assert [partner["feature_id"] for partner in row] == best
        for partner in row:
            other = partner["feature_id"]
            assert partner["share"] == both[other] / counts[feature]
            assert partner["lift"] == both[other] * len(tokens) / (counts[feature] * counts[other])


def test_no_tokens_have_no_partners() -> None:
    assert co_active(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), 5).to_pylist() == [None] * 5
