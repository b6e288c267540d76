"""A regression in passes has the minimum that scikit-learn has, whatever the blocks, and holds a block of texts."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from actkit.analysis.columns import Bools, Floats
from actkit.analysis.concepts import paired as paired_module
from actkit.analysis.concepts import quasi_newton as quasi_newton_module
from actkit.analysis.concepts.logistic_direction import FOLDS, Passes, exchanged, logistic, logistic_of_parts
from actkit.analysis.concepts.paired import Paired
from actkit.analysis.concepts.quasi_newton import minimum
from tests.analysis.concepts.pairs import in_file

STRENGTHS = np.array([1e-3, 1e-2, 1e-1, 1.0])
SHIFTS = [0.0, 0.3, 3.0, 30.0]
"""From no difference to sides that are told apart without fail."""


def alike(n: int = 900, d: int = 24, shift: float = 0.3, seed: int = 0) -> Paired:
    """Pairs whose dimensions are far from 0, of unlike size, and strongly correlated, as activations are."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) * np.exp(-np.arange(d) / 4)[:, None]
    base = rng.normal(size=(n, d)) @ mix * 3 + 50 * rng.normal(size=d)
    # The two sides vary unlike each other, so that the intercept is not 0.
    difference = shift * rng.normal(size=d) * np.abs(mix).max(0) + (rng.exponential(size=(n, d)) - 1) @ mix
    base += difference / 2
    return Paired(base + difference / 2, base - difference / 2, np.arange(n) // 3, np.arange(n) % 3)


def by_scikit_learn(pairs: Paired, labels: Bools, kept: Bools, strength: float) -> Floats:
    """[d_model] by Newton's method to the end, mapped back."""
    texts = np.concatenate([pairs.positive[:], pairs.negative[:]])
    middle, scale = texts.mean(0), texts.std(0)
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    weights: Floats = model.fit(((texts - middle) / scale)[kept], labels[kept]).coef_[0] / scale
    return weights


@pytest.mark.parametrize("shift", SHIFTS)
def test_weights_are_those_of_scikit_learn(shift: float) -> None:
    pairs = alike(shift=shift)
    n, passes = len(pairs.stems), Passes.of(pairs)
    found = passes.mapped(
        passes.weights(lambda here: np.ones((here.stop - here.start, 4)), np.repeat(2 * n, 4), STRENGTHS)
    )
    for weights, strength in zip(found, STRENGTHS, strict=True):
        expected = by_scikit_learn(pairs, np.repeat([True, False], n), np.ones(2 * n, dtype=np.bool_), strength)
        # With a weak penalty the minimum is flat: at the gradient's tolerance weights may be 1e-3 away from it.
        assert weights == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())


def test_the_intercept_has_no_penalty() -> None:
    pairs = alike(shift=3.0)
    passes, sizes = Passes.of(pairs), np.repeat(2 * len(pairs.stems), 4)
    weights = passes.weights(lambda here: np.ones((here.stop - here.start, 4)), sizes, STRENGTHS)
    assert np.abs(weights[:, -1]).min() > 1e-3
    _, slope = passes.losses(weights, lambda here: np.ones((here.stop - here.start, 4)))
    assert slope[:, -1] / sizes == pytest.approx(np.zeros(4), abs=1e-7)


@pytest.mark.parametrize("shift", SHIFTS)
def test_pairs_that_are_left_out_or_exchanged_are(shift: float) -> None:
    pairs, rng = alike(shift=shift), np.random.default_rng(1)
    signs = rng.choice([-1.0, 0.0, 1.0], size=(len(pairs.stems), 3))
    passes = Passes.of(pairs)
    sizes = 2 * np.abs(signs).sum(0).astype(np.int64)
    found = passes.mapped(passes.weights(lambda here: signs[here], sizes, np.full(3, 0.1)))
    for weights, sign in zip(found, signs.T, strict=True):
        expected = by_scikit_learn(pairs, np.concatenate([sign > 0, sign < 0]), np.tile(sign != 0, 2), 0.1)
        assert weights == pytest.approx(expected, abs=1e-3 * np.abs(expected).max())


@pytest.mark.quick(2)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("n", [90, 300])
def test_fewer_texts_than_dimensions_are_fitted_in_a_rotation(n: int, shift: float) -> None:
    """90 pairs are 180 texts of 240 dimensions; 300 are more texts than dimensions."""
    pairs, rng = alike(n=n, d=240, shift=shift), np.random.default_rng(2)
    assert (Passes.of(pairs).rotation is not None) == (n == 90)
    draws = rng.integers(0, 2, (300, 4))[pairs.stems] > 0
    moved = exchanged(pairs, lambda here: draws[here], 4, 1e-2)
    halves = rng.random((n, 3)) < 0.5
    parts = logistic_of_parts(pairs, halves, 1e-2)
    every, none = np.ones(2 * n, dtype=np.bool_), np.repeat([True, False], n)
    assert logistic(pairs, 1e-2)[0] == pytest.approx(by_scikit_learn(pairs, none, every, 1e-2), abs=1e-5)
    for found, labels, kept in [
        *((targets, np.concatenate([draw, ~draw]), every) for targets, draw in zip(moved, draws.T, strict=True)),
        *((part, none, np.tile(half, 2)) for part, half in zip(parts, halves.T, strict=True)),
    ]:
        expected = by_scikit_learn(pairs, labels, kept, 1e-2)
        assert found @ expected > 0.99999 * np.linalg.norm(found) * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [90, 300])
def test_cross_validation_chooses_what_scikit_learn_would(n: int) -> None:
    chosen = set()
    for shift in (0.0, 0.02, 0.05, 0.3, 3.0):
        pairs = alike(n=n, d=24 if n == 300 else 240, shift=shift)
        labels, stems = np.repeat([True, False], n), np.tile(pairs.stems, 2)
        texts = np.concatenate([pairs.positive[:], pairs.negative[:]])
        texts = (texts - texts.mean(0)) / texts.std(0)
        losses = []
        for strength in STRENGTHS:
            model, total = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10), 0.0
            for fit, check in GroupKFold(FOLDS).split(texts, groups=stems):
                chance = model.fit(texts[fit], labels[fit]).predict_proba(texts[check])
                total += log_loss(labels[check], chance, normalize=False)
            losses.append(total)
        assert logistic(pairs)[1] == STRENGTHS[int(np.argmin(losses))]
        chosen.add(logistic(pairs)[1])
    assert len(chosen) > 1


@pytest.mark.parametrize("block", [24, 24 * 7, 1 << 20])
def test_borders_of_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = alike(n=200)
    whole = logistic(pairs)[0]
    monkeypatch.setattr(paired_module, "BLOCK", block)
    assert logistic(pairs)[0] == pytest.approx(whole, abs=1e-9 * np.abs(whole).max())
    passes, texts = Passes.of(pairs), np.concatenate([pairs.positive[:], pairs.negative[:]])
    assert passes.middle == pytest.approx(texts.mean(0), rel=1e-12)
    assert passes.scale == pytest.approx(texts.std(0), rel=1e-12)


def test_a_dimension_that_varies_by_rounding_alone_is_not_blown_up() -> None:
    pairs = alike()
    for side in (pairs.positive, pairs.negative):
        side[:, 3] = 3.3 * (1 + 1e-8 * np.random.default_rng(0).choice([-1.0, 1.0], len(pairs.stems)))
    assert Passes.of(pairs).scale[3] == 1


@pytest.mark.slow
def test_what_a_fit_holds_does_not_grow_with_the_pairs(tmp_path: Path) -> None:
    """Their texts alone would be 1024 bytes a pair in float64."""
    held = []
    for n in (6_000, 18_000):
        with in_file(alike(n=n, d=64), tmp_path) as pairs:
            logistic(pairs.where(np.arange(n) < 2000))  # what is imported is not counted
            tracemalloc.start()
            logistic(pairs)
            held.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert held[1] - held[0] < 100 * 12_000


def test_minima_are_found_from_far_where_the_hessian_says_little() -> None:
    """Of log cosh: flat far out, so that Newton's own step goes ever further away."""
    targets, weights = np.array([[3.0, -2], [0, 40], [-7, 1]]), np.array([1.0, 0.3])

    def value(at: Floats, which: Floats) -> tuple[Floats, Floats]:
        apart = at - targets[which.astype(int)]
        loss = np.logaddexp(apart, -apart) - np.log(2) + 1e-3 * apart**2
        return (loss * weights).sum(1), (np.tanh(apart) + 2e-3 * apart) * weights

    def hessian(at: Floats, which: Floats) -> list[Floats]:
        return [np.diag((1 / np.cosh(index - targets[0]) ** 2 + 2e-3) * weights) for index in at]

    found = minimum(value, hessian, np.zeros(3, dtype=np.int64), np.zeros((3, 2)))  # type: ignore[arg-type]
    assert found == pytest.approx(targets, abs=1e-4)


def test_a_search_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quasi_newton_module, "MOST_ROUNDS", 1)
    monkeypatch.setattr(quasi_newton_module, "ROUND", (1, 1))
    with pytest.warns(RuntimeWarning, match="1 regressions have not converged"):
        logistic(alike(shift=30.0), 1.0)
