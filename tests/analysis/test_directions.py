"""Directions are found where they were planted, and nothing is believed that was fitted."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from actkit.analysis.direction_scores import Evidence, _wilson, pairwise_cosine, score
from actkit.analysis.directions import (
    METHODS,
    Paired,
    Split,
    cosines_between_methods,
    direction,
    logistic,
    split_pairs,
)

D = 64


def planted(
    n: int = 128, d: int = D, shift: float = 1.0, noise: float = 1.0, nuisance: float = 0.0, seed: int = 0
) -> tuple[Paired, np.ndarray[Any, Any]]:
    """Pairs of two templates a stem that differ by `shift` along a known direction, in noise.

    `nuisance` is the standard deviation of the differences along another direction, orthogonal to it.
    """
    rng = np.random.default_rng(seed)
    truth, other = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    base = rng.normal(size=(n, d)) * 3
    difference = shift * truth + rng.normal(size=(n, d)) * noise / np.sqrt(d)
    difference += nuisance * rng.choice([-1.0, 1.0], size=(n, 1)) * other
    return Paired(base + difference / 2, base - difference / 2, np.arange(n) // 2, np.arange(n) % 2), truth


@pytest.mark.parametrize("method", ["mean-diff", "pca"])
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_direction_is_found(method: str, seed: int) -> None:
    """Signal to noise 1: the shift is as long as a pair's noise."""
    pairs, truth = planted(seed=seed)
    found = direction(method, pairs)
    assert np.linalg.norm(found.unit) == pytest.approx(1)
    assert found.unit @ truth >= 0.98
    assert found.norm == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_centring_would_lose_it(seed: int) -> None:
    """TRAPS 35: with a nuisance that varies more than all else, centred PCA finds that and not the shift."""
    pairs, truth = planted(n=400, shift=1.0, noise=0.3, nuisance=0.8, seed=seed)
    difference = pairs.positive - pairs.negative
    centred = np.linalg.svd(difference - difference.mean(0))[2][0]
    assert abs(centred @ truth) < 0.1
    assert direction("mean-diff", pairs).unit @ truth >= 0.98
    assert direction("pca", pairs).unit @ truth >= 0.98


def test_uncentred_pca_needs_a_shift_that_outweighs_the_nuisance_and_the_mean_does_not() -> None:
    """What the README says of the two: beyond a nuisance as large as the shift, PCA follows the nuisance."""
    pairs, truth = planted(n=4000, shift=1.0, noise=0.3, nuisance=1.5)
    assert abs(direction("pca", pairs).unit @ truth) < 0.2
    assert direction("mean-diff", pairs).unit @ truth >= 0.98


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [20, 200])
def test_the_sign_of_pca_is_the_datas(sign: int, n: int) -> None:
    """With fewer and with more pairs than dimensions; equal to the singular vector."""
    pairs, truth = planted(n=n)
    sides = (pairs.positive, pairs.negative)[::sign]
    found = direction("pca", Paired(*sides, pairs.stems, pairs.templates))
    assert sign * found.unit @ truth > 0.9
    vector = np.linalg.svd(sides[0] - sides[1], full_matrices=False)[2][0]
    assert abs(found.unit @ vector) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 8), (30, 300)])
def test_logistic_is_scikit_learns(n: int, d: int) -> None:
    """The rotation into as many dimensions as there are texts changes nothing."""
    pairs, _ = planted(n=n, d=d)
    x = np.concatenate([pairs.positive, pairs.negative])
    y = np.repeat([1, 0], n)
    plain = LogisticRegression(C=0.1, max_iter=5000, tol=1e-10).fit((x - x.mean(0)) / x.std(0), y).coef_[0] / x.std(0)
    found = logistic(pairs.positive, pairs.negative, None, 0.1)
    assert found @ plain / np.linalg.norm(found) / np.linalg.norm(plain) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(20, 64), (250, 64), (20, 2048)])
def test_logistic_converges_and_a_dimension_that_never_varies_is_no_trouble(n: int, d: int) -> None:
    pairs, truth = planted(n=n, d=d, shift=4)
    for side in (pairs.positive, pairs.negative):
        side[:, 0] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = direction("logistic", pairs)
    assert found.unit @ truth > 0.3 and np.isnan(found.norm)


def test_a_split_is_by_stem_and_always_the_same() -> None:
    stems = np.repeat(np.arange(30), 3)
    split = split_pairs(stems, seed=4)
    assert split is not None
    parts = [set(stems[part]) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 30
    assert [len(part) for part in parts] == [15, 7, 8]
    again = split_pairs(stems, seed=4)
    assert again is not None and np.array_equal(again.test, split.test)
    assert split_pairs(np.arange(11)) is None and split_pairs(np.arange(12)) is not None


def scored(pairs: Paired, method: str = "mean-diff", seed: int = 0) -> tuple[Evidence, Split]:
    split = split_pairs(pairs.stems, seed)
    assert split is not None
    return score(method, direction(method, pairs.where(split.train)), pairs, split, seed), split


@pytest.mark.parametrize("method", METHODS)
def test_figures_are_those_of_scikit_learn_and_of_the_hand(method: str) -> None:
    pairs, _ = planted(shift=0.7)
    found, split = scored(pairs, method)
    unit = direction(method, pairs.where(split.train)).unit
    above, below = pairs.positive @ unit, pairs.negative @ unit
    for part, value in (
        (split.train, found.auroc_train),
        (split.validation, found.auroc_validation),
        (split.test, found.auroc_heldout),
    ):
        y = np.repeat([1, 0], part.sum())
        assert value == pytest.approx(roc_auc_score(y, np.concatenate([above[part], below[part]])))
    test = split.test
    middle = (above[split.train].mean() + below[split.train].mean()) / 2
    guessed = np.concatenate([above[test], below[test]]) > middle
    assert found.accuracy_heldout == pytest.approx(accuracy_score(np.repeat([True, False], test.sum()), guessed))
    assert found.accuracy_heldout_low < found.accuracy_heldout < found.accuracy_heldout_high
    assert found.auroc_heldout_low < found.auroc_heldout < found.auroc_heldout_high
    assert found.pair_accuracy == pytest.approx((above[test] > below[test]).mean())
    assert found.opposite == pytest.approx(((pairs.positive - pairs.negative)[test] @ unit < 0).mean())
    pooled = np.sqrt((above[test].var(ddof=1) + below[test].var(ddof=1)) / 2)
    assert found.cohens_d == pytest.approx((above[test].mean() - below[test].mean()) / pooled)


def test_wilson_is_the_textbooks() -> None:
    low, high = _wilson(0.8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_pairwise_cosine_is_all_pairs() -> None:
    rng = np.random.default_rng(0)
    difference = rng.normal(size=(20, 5)) + 0.5
    difference[3] = 0
    units = np.delete(difference, 3, axis=0)
    units /= np.linalg.norm(units, axis=1)[:, None]
    every = (units @ units.T)[np.triu_indices(19, 1)]
    assert pairwise_cosine(difference) == pytest.approx(every.mean())
    assert np.isnan(pairwise_cosine(difference[:1]))


def test_labels_at_random_are_fitted_and_not_believed() -> None:
    """Many more dimensions than pairs: the training pairs are told apart perfectly, others not at all."""
    heldout = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pairs = Paired(*rng.normal(size=(2, 60, 500)), np.arange(60), np.zeros(60, dtype=np.int64))
        found, _ = scored(pairs, "logistic", seed)
        assert found.auroc_train > 0.99
        heldout.append(found.auroc_heldout)
    assert 0.4 < np.mean(heldout) < 0.6


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_shuffled_labels_stays_in_its_own_band(method: str) -> None:
    """A 95 % band holds at least 8 of 10 such runs in all but one case in a hundred."""
    inside = 0
    for seed in range(10):
        pairs, _ = planted(n=120, shift=0, seed=seed)
        found, _ = scored(pairs, method, seed)
        inside += found.shuffled_low - 1e-9 <= found.auroc_heldout <= found.shuffled_high + 1e-9
    assert inside >= 8
    pairs, _ = planted(n=120, shift=3.0)
    found, _ = scored(pairs, method)
    assert found.auroc_heldout > found.random_high
    assert found.auroc_heldout > found.shuffled_high


def test_transfer_falls_where_each_template_has_a_direction_of_its_own() -> None:
    pairs, _ = planted(shift=2)
    same, _ = scored(pairs)
    assert same.auroc_transfer > 0.6 and same.split_half_cosine > 0.9
    turned = pairs.templates == 1
    difference = pairs.positive - pairs.negative
    rotated = np.roll(difference[turned], 7, axis=1)
    middle = (pairs.positive + pairs.negative) / 2
    positive, negative = pairs.positive.copy(), pairs.negative.copy()
    positive[turned], negative[turned] = middle[turned] + rotated / 2, middle[turned] - rotated / 2
    apart, _ = scored(Paired(positive, negative, pairs.stems, pairs.templates))
    assert abs(apart.auroc_transfer - 0.5) < 0.1
    alone, _ = scored(Paired(pairs.positive, pairs.negative, pairs.stems, np.zeros(128, dtype=np.int64)))
    assert np.isnan(alone.auroc_transfer)


def test_methods_are_compared() -> None:
    pairs, _ = planted(n=400, shift=3)
    found = {method: direction(method, pairs) for method in METHODS}
    cosines = cosines_between_methods(found)
    assert cosines["mean-diff", "pca"] > 0.99
    assert set(cosines) == {("mean-diff", "pca"), ("mean-diff", "logistic"), ("pca", "logistic")}


def test_one_pair_gives_no_direction() -> None:
    pairs, _ = planted(n=1)
    with pytest.raises(ValueError, match="1 pairs give no direction"):
        direction("mean-diff", pairs)
