"""Directions are found where they were planted, as numpy and scikit-learn find them, and splits keep stems."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from actkit.analysis.columns import Floats
from actkit.analysis.concepts.directions import METHODS, direction, principal, split_pairs
from actkit.analysis.concepts.logistic_direction import STRENGTHS, logistic
from actkit.analysis.concepts.paired import Paired
from actkit.runs.reader import rows_of_table

D = 64


def planted(
    n: int = 128, d: int = D, shift: float = 1.0, noise: float = 1.0, nuisance: float = 0.0, seed: int = 0
) -> tuple[Paired, np.ndarray[Any, Any]]:
    """Pairs of two templates a stem that differ by `shift` along a known direction, in noise of length `noise`.

    `nuisance` is the standard deviation of the differences along another direction, orthogonal to it.
    """
    rng = np.random.default_rng(seed)
    truth, other = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    base = rng.normal(size=(n, d)) * 3
    difference = shift * truth + rng.normal(size=(n, d)) * noise / np.sqrt(d)
    difference += nuisance * rng.choice([-1.0, 1.0], size=(n, 1)) * other
    return Paired(base + difference / 2, base - difference / 2, np.arange(n) // 2, np.arange(n) % 2), truth


def of(positive: Floats, negative: Floats) -> Paired:
    n = len(positive)
    return Paired(positive, negative, np.arange(n), np.zeros(n, dtype=np.int64))


@pytest.mark.parametrize("method", ["mean-diff", "pca"])
@pytest.mark.parametrize("seed", range(5))
def test_a_shift_as_long_as_a_pairs_noise_is_found(method: str, seed: int) -> None:
    pairs, truth = planted(seed=seed)
    found = direction(method, pairs)
    assert np.linalg.norm(found.unit) == pytest.approx(1)
    assert found.unit @ truth >= 0.98
    assert found.norm == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_centred_pca_finds_the_dominant_nuisance_and_ours_the_shift(seed: int) -> None:
    # TRAPS 35. The nuisance has 64 % of the shift's square, and seven times what all noise has together.
    pairs, truth = planted(n=400, shift=1.0, noise=0.3, nuisance=0.8, seed=seed)
    difference = pairs.positive - pairs.negative
    centred = np.linalg.svd(difference - difference.mean(0))[2][0]
    assert abs(centred @ truth) < 0.1
    assert direction("mean-diff", pairs).unit @ truth >= 0.98
    assert direction("pca", pairs).unit @ truth >= 0.98


@pytest.mark.parametrize(("nuisance", "followed"), [(0.5, "shift"), (0.8, "shift"), (1.25, "other"), (2.0, "other")])
def test_uncentred_pca_follows_a_nuisance_that_outweighs_the_shift_and_the_mean_does_not(
    nuisance: float, followed: str
) -> None:
    pairs, truth = planted(n=4000, shift=1.0, noise=0.3, nuisance=nuisance)
    along = abs(direction("pca", pairs).unit @ truth)
    assert along >= 0.98 if followed == "shift" else along < 0.2
    assert direction("mean-diff", pairs).unit @ truth >= 0.98


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [20, 63, 64, 65, 200])
def test_pca_is_the_singular_vector_with_the_datas_sign(sign: int, n: int) -> None:
    pairs, truth = planted(n=n)
    sides = (pairs.positive, pairs.negative)[::sign]
    found = direction("pca", Paired(*sides, pairs.stems, pairs.templates))
    assert sign * found.unit @ truth > 0.9
    difference = sides[0] - sides[1]
    _, values, vectors = np.linalg.svd(difference, full_matrices=False)
    assert found.unit == pytest.approx(vectors[0] * np.sign((difference @ vectors[0]).mean()), abs=1e-9)
    assert found.norm == pytest.approx(values[0] / np.sqrt(n))
    assert found.norm == pytest.approx(np.sqrt(np.square(difference @ found.unit).mean()))


def test_the_mean_difference_is_the_difference_of_means() -> None:
    pairs, _ = planted(n=50)
    apart = pairs.positive.mean(0) - pairs.negative.mean(0)
    found = direction("mean-diff", pairs)
    assert found.unit * found.norm == pytest.approx(apart)


@pytest.mark.parametrize(("n", "d"), [(40, 8), (30, 300)])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logistic_is_scikit_learns_with_its_weights_mapped_back(n: int, d: int, strength: float) -> None:
    pairs, _ = planted(n=n, d=d)
    # Dimensions of unlike size, off centre: standardisation has to be undone for each.
    size, offset = np.exp(np.random.default_rng(1).normal(size=(2, d)))
    positive, negative = pairs.positive * size + offset, pairs.negative * size + offset
    x, y = np.concatenate([positive, negative]), np.repeat([1, 0], n)
    plain = LogisticRegression(C=strength, max_iter=5000, tol=1e-10).fit((x - x.mean(0)) / x.std(0), y)
    expected = plain.coef_[0] / x.std(0)
    found, _ = logistic(Paired(positive, negative, pairs.stems, pairs.templates), strength)
    assert found == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("n", "d"), [(40, 64), (500, 64), (40, 4096), pytest.param(500, 4096, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shift", [0.0, 4.0, 100.0])
def test_logistic_converges_whether_sides_can_be_told_apart_or_not(n: int, d: int, shift: float) -> None:
    pairs, _ = planted(n=n, d=d, shift=shift)
    found = direction("logistic", pairs)
    assert np.linalg.norm(found.unit) == pytest.approx(1) and np.isnan(found.norm)
    above, below = pairs.positive @ found.unit, pairs.negative @ found.unit
    assert shift < 100 or above.min() > below.max()


@pytest.mark.parametrize("rounding", [0.0, 1e-8, 1e-7])
def test_a_dimension_that_varies_by_rounding_alone_has_no_weight(rounding: float) -> None:
    pairs, truth = planted(shift=4)
    noise = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=(2, len(pairs.stems)))
    for side, off in zip((pairs.positive, pairs.negative), noise, strict=True):
        side[:, 0] = 3.3 * (1 + rounding * off)
    found = direction("logistic", pairs)
    assert abs(found.unit[0]) < 1e-3 and found.unit @ truth > 0.5


def test_strength_is_chosen_over_stems_and_not_over_their_copies() -> None:
    # Each stem has four pairs that are nearly the same, and nothing that holds for another stem.
    rng = np.random.default_rng(0)
    stems = np.repeat(np.arange(60), 4)
    apart = 3 * rng.normal(size=(60, 100))[stems] + 0.01 * rng.normal(size=(240, 100))
    none = np.zeros(240, dtype=np.int64)
    assert logistic(Paired(apart, -apart, stems, none))[1] == STRENGTHS[0]
    assert logistic(Paired(apart, -apart, np.arange(240), none))[1] == STRENGTHS[-1]
    assert logistic(Paired(apart, -apart, none, none))[1] in STRENGTHS


@pytest.mark.parametrize("method", METHODS)
def test_a_direction_is_the_same_each_time(method: str) -> None:
    pairs, _ = planted(n=30)
    assert np.array_equal(direction(method, pairs).unit, direction(method, pairs).unit)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [40, 100])
def test_equal_sides_have_no_direction(method: str, n: int) -> None:
    same = np.random.default_rng(0).normal(size=(n, D))
    assert not direction(method, of(same, same)).unit.any()


def test_sides_that_move_both_ways_have_a_singular_vector_and_hardly_a_mean() -> None:
    base, axis = np.random.default_rng(0).normal(size=(40, D)), np.eye(D)[3]
    moved = np.where(np.arange(40) % 2, 1.0, -1.0)[:, None] * axis
    found = principal(of(moved, np.zeros((40, D))))
    assert abs(found.unit[3]) == pytest.approx(1) and found.norm == pytest.approx(1)
    assert direction("mean-diff", of(base + moved, base)).norm == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_fewer_than_two_pairs_give_no_direction(method: str, n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} pairs give no direction"):
        direction(method, of(np.ones((n, D)), np.zeros((n, D))))


def test_a_method_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="no method median: there are mean-diff, pca, logistic"):
        direction("median", planted(n=4)[0])


@pytest.mark.parametrize("n_stems", [12, 13, 30, 101])
@pytest.mark.parametrize("seed", range(4))
def test_no_stem_is_on_two_sides_of_a_split_and_every_pair_is_on_one(n_stems: int, seed: int) -> None:
    stems = np.random.default_rng(seed).permutation(np.repeat(np.arange(n_stems) * 7, 3))
    split = split_pairs(stems, seed)
    assert split is not None
    parts = (split.train, split.validation, split.test)
    assert np.array_equal(np.sum(parts, axis=0), np.ones(len(stems)))
    names = [set(stems[part]) for part in parts]
    assert sum(map(len, names)) == n_stems
    assert [len(part) / n_stems for part in names] == pytest.approx([0.5, 0.25, 0.25], abs=1 / n_stems)


def test_a_split_depends_on_stems_and_seed_and_not_on_the_order_of_pairs() -> None:
    stems = np.repeat(np.arange(30), 3)
    order = np.random.default_rng(0).permutation(90)
    first, again, moved, other = (
        split_pairs(*case) for case in ((stems, 4), (stems, 4), (stems[order], 4), (stems, 5))
    )
    assert first and again and moved and other
    assert np.array_equal(first.test, again.test)
    assert np.array_equal(first.test[order], moved.test)
    assert not np.array_equal(first.test, other.test)


def test_fewer_than_twelve_stems_are_not_split() -> None:
    assert split_pairs(np.repeat(np.arange(11), 9)) is None
    assert split_pairs(np.arange(12)) is not None


def test_methods_are_compared_by_cosine(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["concept"]
    units = {(row["hook_point"], row["method"]): row["direction"] for row in rows_of_table(run, "directions")}
    rows = rows_of_table(run, "direction_scores")
    assert {row["method"] for row in rows} == set(METHODS)
    for row in rows:
        own = np.array(units[row["hook_point"], row["method"]])
        for method in METHODS:
            cosine = row[f"cosine_{method}".replace("-", "_")]
            assert cosine == pytest.approx(own @ np.array(units[row["hook_point"], method]), abs=1e-6)
            assert (cosine == 1.0) is (method == row["method"])
