"""Probes never hold more than the training texts, and are those of the whole matrix to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from actkit.analysis.feature_tests import probes as probes_module
from actkit.analysis.feature_tests.labelled import Texts, hold_out
from actkit.analysis.feature_tests.probes import STRENGTHS, _centre, fit_and_score


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("at_once", [1, 5000, 10**6])
def test_columns_are_centred_and_scaled_as_numpy_does_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, at_once: int, width: int, kind: Any
) -> None:
    monkeypatch.setattr(probes_module, "AT_ONCE", at_once)
    x = np.random.default_rng(width).lognormal(size=(1003, width)).astype(kind)
    x[:, width // 2] = x[:, width // 2] if width < 3 else 2.0
    middle, expected = x.mean(0), x.std(0)
    scale = _centre(centred := x.copy(), middle)
    np.testing.assert_array_equal(scale, np.where(expected == 0, 1, expected))
    np.testing.assert_array_equal(centred, x - middle)
    assert scale.dtype == kind


def texts(n: int, seed: int) -> Texts:
    draw, numbers = np.random.default_rng(seed), np.arange(n)
    return Texts(
        numbers,
        draw.random(n) < 0.5,
        numbers,
        numbers,
        np.ones(n),
        numbers,
        np.zeros(n, dtype=np.int8),
        0,
        False,
    )


def counted(x: np.ndarray, held: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    """The rows of x, and how many are asked for."""

    def rows(wanted: np.ndarray) -> np.ndarray:
        held.append(int(wanted.sum()))
        return x[wanted]

    return rows


def test_a_probe_is_that_of_the_whole_matrix() -> None:
    some, draw = texts(600, 1), np.random.default_rng(2)
    x = (draw.normal(size=(600, 20)) * 3 + 5 + 0.8 * some.positive[:, None] * (np.arange(20) < 3)).astype(np.float32)
    held = hold_out(some, 0.3, 0)
    assert held is not None
    asked: list[int] = []
    found = fit_and_score(counted(x, asked), some, held, 7)
    train, y = x[~held], some.positive[~held]
    middle, scale = train.mean(0), train.std(0)
    train, test = (train - middle) / scale, (x[held] - middle) / scale
    inner = hold_out(some.where(~held), 0.2, 7)
    assert inner is not None

    def weights(of: np.ndarray, strength: float) -> np.ndarray:
        model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
        return model.fit(train[of], y[of]).coef_[0]

    tried = [roc_auc_score(y[inner], train[inner] @ weights(~inner, strength)) for strength in STRENGTHS]
    assert found.strength == STRENGTHS[int(np.argmax(tried))]
    scores = test @ weights(np.ones(len(y), dtype=bool), found.strength)
    assert found.auroc == pytest.approx(roc_auc_score(some.positive[held], scores), abs=1e-12)
    assert found.low < found.auroc < found.high and found.n_train == len(y)
    assert max(asked) == len(y) < 600


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_texts_with_equal_columns_tie_in_a_probe(kind: Any) -> None:
    """Texts without any of ten features are many: a matrix product rounds the last of them otherwise."""
    for n in range(200, 216):
        some, draw = texts(n, n), np.random.default_rng(n)
        which = np.where(some.positive, draw.integers(0, 5, n), draw.integers(0, 4, n))
        x = (draw.normal(size=(5, 10)) * (np.arange(5) > 0)[:, None])[which].astype(kind)
        held = hold_out(some, 0.3, 0)
        assert held is not None
        found = fit_and_score(counted(x, []), some, held, 0)
        train = x[~held]
        model: Any = LogisticRegression(C=found.strength, max_iter=1000, class_weight="balanced")
        scale = np.where(train.std(0) == 0, 1, train.std(0))
        weights = model.fit((train - train.mean(0)) / scale, some.positive[~held]).coef_[0]
        of_each = np.array([float(((x[which == kept][0] - train.mean(0)) / scale) @ weights) for kept in range(5)])
        assert found.auroc == pytest.approx(roc_auc_score(some.positive[held], of_each[which[held]]), abs=1e-9)
