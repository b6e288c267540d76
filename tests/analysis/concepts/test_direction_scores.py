"""Figures are those of scikit-learn and of the hand, chance stays in its bands, and nothing fitted is believed."""

from dataclasses import asdict, astuple, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, roc_auc_score

from actkit.analysis.auroc import auroc
from actkit.analysis.auroc_interval import accuracy_interval, effective_texts, wilson
from actkit.analysis.columns import Floats
from actkit.analysis.concepts import direction_chance as direction_chance_module
from actkit.analysis.concepts import logistic_direction
from actkit.analysis.concepts.caveats import about_choice
from actkit.analysis.concepts.concept import choose
from actkit.analysis.concepts.direction_chance import aurocs, exchanged_band, random_band
from actkit.analysis.concepts.direction_scores import Background, Evidence, pairwise_cosine, score
from actkit.analysis.concepts.directions import METHODS, Direction, Split, direction, split_pairs
from actkit.analysis.concepts.paired import Paired
from actkit.analysis.length import length_strata


def planted(
    stems: int = 64, templates: int = 2, d: int = 64, shift: float = 1.0, alike: float = 0.0, seed: int = 0
) -> Paired:
    """Pairs that differ by `shift` along one direction; `alike` is the spread of what a stem's pairs have in common."""
    rng = np.random.default_rng(seed)
    n, stem = stems * templates, np.repeat(np.arange(stems), templates)
    truth = rng.normal(size=d)
    base = rng.normal(size=(n, d)) * 3
    difference = shift * truth / np.linalg.norm(truth) + rng.normal(size=(n, d)) / np.sqrt(d)
    difference += alike * rng.normal(size=(stems, d))[stem]
    return Paired(base + difference / 2, base - difference / 2, stem, np.tile(np.arange(templates), stems))


def exchanged(pairs: Paired, seed: int) -> Paired:
    """The same pairs with the sides of some stems, drawn at random, the other way round."""
    turned = np.random.default_rng(seed).integers(0, 2, pairs.stems.max() + 1)[pairs.stems, None] == 1
    positive = np.where(turned, pairs.negative, pairs.positive)
    return replace(pairs, positive=positive, negative=np.where(turned, pairs.positive, pairs.negative))


def split_of(pairs: Paired, seed: int = 0) -> Split:
    split = split_pairs(pairs.stems, seed)
    assert split is not None
    return split


def scored(pairs: Paired, method: str = "mean-diff", seed: int = 0) -> Evidence:
    split = split_of(pairs, seed)
    found = direction(method, pairs.where(split.train))
    return score(method, found, pairs, split, seed, background(pairs, split, seed))


def background(pairs: Paired, split: Split, seed: int = 0) -> Background:
    """With lengths at random."""
    lengths = np.random.default_rng(9).integers(5, 30, (2, len(pairs.stems)))
    return Background.of(pairs, split, seed, lengths)


@pytest.mark.parametrize("method", METHODS)
def test_figures_are_those_of_scikit_learn_and_of_the_hand(method: str) -> None:
    pairs = planted(shift=0.7)
    split, found = split_of(pairs), scored(pairs, method)
    unit = direction(method, pairs.where(split.train)).unit
    above, below = pairs.positive @ unit, pairs.negative @ unit
    for part, value in (
        (split.train, found.auroc_train),
        (split.validation, found.auroc_validation),
        (split.test, found.auroc_heldout),
    ):
        y = np.repeat([1, 0], part.sum())
        assert value == pytest.approx(roc_auc_score(y, np.concatenate([above[part], below[part]])))
    middle = (above[split.train].mean() + below[split.train].mean()) / 2
    for part, value in ((split.train, found.accuracy_train), (split.test, found.accuracy_heldout)):
        guessed = np.concatenate([above[part], below[part]]) > middle
        assert value == pytest.approx(accuracy_score(np.repeat([True, False], part.sum()), guessed))
    assert found.accuracy_heldout_low < found.accuracy_heldout < found.accuracy_heldout_high
    assert found.auroc_heldout_low < found.auroc_heldout < found.auroc_heldout_high
    assert found.pair_accuracy == pytest.approx((above > below)[split.test].mean())
    assert found.opposite == pytest.approx(((pairs.positive - pairs.negative)[split.test] @ unit < 0).mean())
    for part, value in ((split.validation, found.cohens_d_validation), (split.test, found.cohens_d)):
        pooled = np.sqrt((above[part].var(ddof=1) + below[part].var(ddof=1)) / 2)
        assert value == pytest.approx((above[part].mean() - below[part].mean()) / pooled)


def test_intervals_take_the_texts_of_a_stem_together() -> None:
    pairs = planted(templates=4, shift=4, alike=8)
    split, found = split_of(pairs), scored(pairs)
    test, stems = split.test, pairs.stems[split.test]
    unit = direction("mean-diff", pairs.where(split.train)).unit
    above, below = pairs.positive @ unit, pairs.negative @ unit
    sample = np.concatenate([above[test], below[test]]), np.repeat([True, False], test.sum())
    held, apart = auroc(*sample, np.tile(stems, 2)), auroc(*sample)
    assert (found.auroc_heldout_low, found.auroc_heldout_high) == pytest.approx((held.low, held.high))
    assert abs(held.low - apart.low) > 1e-3
    middle = (above[split.train].mean() + below[split.train].mean()) / 2
    correct = ((above > middle) + (below <= middle).astype(float))[test] / 2
    interval = accuracy_interval(correct, stems, 2)
    assert (found.accuracy_heldout_low, found.accuracy_heldout_high) == pytest.approx(interval)
    assert abs(interval[0] - accuracy_interval(correct, np.arange(len(stems)), 2)[0]) > 1e-3


def test_cohens_d_is_the_textbooks() -> None:
    # Test pairs along the direction: 4, 6, 8 and 1, 3, 5, each with a variance of 4; 3 / 2 = 1.5.
    pairs = Paired(np.array([[4.0], [6], [8]]), np.array([[1.0], [3], [5]]), np.arange(3), np.zeros(3, dtype=np.int64))
    every = np.ones(3, dtype=np.bool_)
    split = Split(every, every, every)
    found = score("mean-diff", Direction(np.ones(1), 3.0), pairs, split, 0, background(pairs, split))
    assert found.cohens_d == 1.5


def test_scores_come_out_the_same_each_time() -> None:
    pairs = planted(stems=20)
    for method in METHODS:
        assert astuple(scored(pairs, method)) == astuple(scored(pairs, method))


def test_a_direction_of_zeros_is_worth_a_guess() -> None:
    pairs = planted(stems=20, templates=1)
    same = replace(pairs, negative=pairs.positive)
    for method in METHODS:
        found = scored(same, method)
        assert (found.auroc_train, found.auroc_heldout, found.pair_accuracy, found.opposite) == (0.5, 0.5, 0.5, 0)
        assert found.accuracy_heldout == 0.5 and np.isnan(found.cohens_d) and np.isnan(found.pairwise_cosine)
        assert (found.shuffled_low, found.shuffled_high) == (0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "runs"), [("mean-diff", 20), ("logistic", 6)])
def test_labels_at_random_are_fitted_and_not_believed(method: str, runs: int) -> None:
    # Many more dimensions than pairs: the training pairs are told apart perfectly, others not at all.
    heldout = []
    for seed in range(runs):
        sides = np.random.default_rng(seed).normal(size=(2, 100, 800))
        found = scored(Paired(*sides, np.arange(100), np.zeros(100, dtype=np.int64)), method, seed)
        assert found.auroc_train > 0.99
        heldout.append(found.auroc_heldout)
    assert 0.44 < np.mean(heldout) < 0.56


@pytest.mark.parametrize(("right", "n"), [(0, 5), (8, 10), (10, 10), (37, 120)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_pairs_are_worth_as_many_texts_as_their_stems_leave() -> None:
    correct = np.array([1.0, 1, 0.5, 0.5, 1, 1, 0, 0.5])
    stems = np.repeat(np.arange(4), 2)
    # By hand: mean 0.6875; stems' sums of deviations 0.625, -0.375, 0.625, -0.875.
    variance = 4 / 3 * (0.625**2 + 0.375**2 + 0.625**2 + 0.875**2) / 64
    few = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 3)) ** 2
    assert effective_texts(correct, stems, 2) == pytest.approx(0.6875 * 0.3125 / variance * few)
    assert effective_texts(np.ones(8), stems, 2) == 4
    assert effective_texts(np.tile([1.0, 0.5, 0.5], 4), np.repeat(np.arange(4), 3), 2) == 4
    assert effective_texts(np.array([1.0, 0.5] * 500), np.arange(1000), 2) == 2000


def coverage(stems: int, templates: int, alike: float, plain: bool) -> float:
    """Share of 400 draws whose interval has the true accuracy in it."""
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(0.75 / np.sqrt(1 + alike**2 / 4))
    hits = 0
    of = np.repeat(np.arange(stems), templates)
    for _ in range(400):
        shift = 1.5 + alike * rng.normal(size=stems)[of]
        above, below = shift / 2 + rng.normal(size=len(of)), -shift / 2 + rng.normal(size=len(of))
        correct = ((above > 0) + (below <= 0).astype(float)) / 2
        low, high = wilson(correct.mean(), len(of)) if plain else accuracy_interval(correct, of, 2)
        hits += low <= truth <= high
    return hits / 400


@pytest.mark.quick(3)
@pytest.mark.parametrize(("stems", "templates"), [(3, 8), (10, 8), (25, 4)])
@pytest.mark.parametrize("alike", [0.0, 1.0, 3.0])
def test_the_accuracys_interval_covers_the_truth_where_a_stems_pairs_go_together(
    stems: int, templates: int, alike: float
) -> None:
    assert coverage(stems, templates, alike, plain=False) >= 0.92


def test_an_interval_that_takes_pairs_as_independent_does_not() -> None:
    assert coverage(10, 8, 3.0, plain=True) < 0.8


def test_pairwise_cosine_is_the_mean_over_all_pairs() -> None:
    difference = np.random.default_rng(0).normal(size=(20, 5)) + 0.5
    difference[3] = 0
    units = np.delete(difference, 3, axis=0)
    units /= np.linalg.norm(units, axis=1)[:, None]
    every = (units @ units.T)[np.triu_indices(19, 1)]
    none = np.zeros(20, dtype=np.int64)
    pairs = Paired(difference, np.zeros((20, 5)), none, none)
    assert pairwise_cosine(pairs) == pytest.approx(every.mean())
    for known in ([0], [2, 3]):
        assert np.isnan(pairwise_cosine(pairs.where(np.isin(np.arange(20), known))))


def test_aurocs_of_many_directions_are_scikit_learns() -> None:
    above, below = np.random.default_rng(0).integers(0, 5, size=(2, 30, 7)).astype(float)
    expected = [roc_auc_score(np.repeat([1, 0], 30), np.r_[above[:, i], below[:, i]]) for i in range(7)]
    assert aurocs(above, below) == pytest.approx(expected)


RUNS = 40


def heldout_and_band(method: str, seed: int) -> tuple[float, tuple[float, float]]:
    """A shift that is there, and stems whose pairs are alike; the sides then exchanged by stem."""
    pairs = exchanged(planted(stems=40, templates=4, d=32, shift=2.0, alike=0.7, seed=seed), seed + 1000)
    split = split_of(pairs, seed)
    unit = direction(method, pairs.where(split.train)).unit
    value = aurocs(pairs.positive[split.test] @ unit[:, None], pairs.negative[split.test] @ unit[:, None])[0]
    return float(value), exchanged_band(method, pairs, split, seed)


@pytest.mark.parametrize("method", ["mean-diff", "pca", pytest.param("logistic", marks=pytest.mark.slow)])
def test_runs_of_shuffled_labels_stay_in_their_own_bands(method: str) -> None:
    runs = [heldout_and_band(method, seed) for seed in range(RUNS)]
    assert sum(low - 1e-9 <= value <= high + 1e-9 for value, (low, high) in runs) >= 0.9 * RUNS
    assert np.mean([value for value, _ in runs]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("method", METHODS)
def test_a_shift_that_is_there_is_outside_of_both_bands_and_does_not_widen_them(method: str) -> None:
    pairs = planted(stems=80, d=32, shift=6.0)
    found = scored(pairs, method)
    assert found.auroc_heldout > 0.85
    assert 0.15 < found.shuffled_low < 0.5 < found.shuffled_high < 0.85 < found.auroc_heldout
    assert found.random_low < 0.5 < found.random_high < found.auroc_heldout


@pytest.mark.parametrize("method", METHODS)
def test_the_band_is_that_of_refits_one_by_one(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = planted(stems=24, d=80, shift=2.0)
    split = split_of(pairs)
    monkeypatch.setattr(direction_chance_module, "EXCHANGES", {method: 12})
    monkeypatch.setattr(logistic_direction, "STRENGTHS", (0.01,))
    signs = np.random.default_rng((5, 1)).choice([-1.0, 1.0], size=(12, 24))[:, pairs.stems, None]
    expected = []
    for sign in signs:
        moved = replace(
            pairs,
            positive=np.where(sign > 0, pairs.positive, pairs.negative),
            negative=np.where(sign > 0, pairs.negative, pairs.positive),
        )
        unit = direction(method, moved.where(split.train)).unit[:, None]
        expected.append(aurocs(moved.positive[split.test] @ unit, moved.negative[split.test] @ unit)[0])
    assert exchanged_band(method, pairs, split, 5) == pytest.approx(np.percentile(expected, (2.5, 97.5)), abs=1e-9)


def test_random_directions_fall_on_both_sides_of_a_half_and_are_the_same_for_each_method() -> None:
    pairs = planted(shift=5)
    low, high = random_band(pairs, split_of(pairs), 0)
    assert low < 0.45 and high > 0.55 and low + high == pytest.approx(1, abs=0.1)
    assert {(found.random_low, found.random_high) for found in map(partial(scored, pairs), METHODS)} == {(low, high)}


@pytest.mark.parametrize("method", METHODS)
def test_length_is_held_against_each_direction(method: str) -> None:
    """Texts whose length goes with the side, in part: figures are scipy's and scikit-learn's."""
    pairs, rng = planted(stems=80, shift=2.0), np.random.default_rng(3)
    split = split_of(pairs)
    lengths = np.stack([rng.poisson(22, len(pairs.stems)), rng.poisson(18, len(pairs.stems))])
    found = direction(method, pairs.where(split.train))
    mine = score(method, found, pairs, split, 0, Background.of(pairs, split, 0, lengths))
    test = split.test
    y, tokens = np.repeat([True, False], test.sum()), np.concatenate([lengths[0][test], lengths[1][test]])
    projected = np.concatenate([pairs.positive[test] @ found.unit, pairs.negative[test] @ found.unit])
    assert mine.spearman_length == pytest.approx(stats.spearmanr(projected, tokens).statistic)
    assert mine.auroc_length_only == pytest.approx(roc_auc_score(y, tokens))
    strata, wins, n = length_strata(tokens), 0.0, 0
    for stratum in np.unique(strata):
        above, below = projected[(strata == stratum) & y], projected[(strata == stratum) & ~y]
        wins += (above[:, None] > below).sum() + (above[:, None] == below).sum() / 2
        n += len(above) * len(below)
    assert mine.auroc_length_adjusted == pytest.approx(wins / n) and 0 < n < test.sum() ** 2 / 2


def test_a_direction_of_length_is_nothing_within_texts_of_one_length_and_is_named() -> None:
    rng, n = np.random.default_rng(0), 120
    lengths = np.stack([rng.integers(14, 40, n), rng.integers(8, 34, n)])
    sides = rng.normal(size=(2, n, 8))
    sides[:, :, 0] += 3 * lengths
    pairs = Paired(*sides, np.arange(n) // 2, np.arange(n) % 2)
    split = split_of(pairs)
    found = direction("mean-diff", pairs.where(split.train))
    mine = score("mean-diff", found, pairs, split, 0, Background.of(pairs, split, 0, lengths))
    assert mine.spearman_length > 0.99 and mine.auroc_heldout == pytest.approx(mine.auroc_length_only, abs=0.02)
    assert abs(mine.auroc_length_adjusted - 0.5) < 0.15 < mine.auroc_heldout - 0.5
    row = {"method": "mean-diff", **asdict(mine)}
    about = {"held_out": {"value": mine.auroc_length_only}}
    said = list(about_choice({"mean-diff": row}, "mean-diff", about))
    assert any(
        "follows the length of the texts (Spearman 1.00" in warning and "(0.5 is chance)" in warning for warning in said
    )
    turned = {**row, "spearman_length": 0.4}
    assert not any("length" in warning for warning in about_choice({"mean-diff": turned}, "mean-diff", about))


def test_the_earliest_layer_within_one_standard_error_is_chosen() -> None:
    def rows(*scores: tuple[int, float, float]) -> list[dict[str, Any]]:
        names = ("layer", "choice_score", "choice_error")
        return [{"method": "pca", **dict(zip(names, score, strict=True))} for score in scores]

    assert (choose(rows((3, 0.97, 0.1), (9, 1.0, 0.02), (12, 1.0, 0.01)), "pca") or {})["layer"] == 9
    assert (choose(rows((3, 0.981, 0.1), (9, 1.0, 0.02), (12, 0.99, 0.2)), "pca") or {})["layer"] == 3
    assert (choose(rows((3, 0.7, 0.1), (5, 0.9, 0.05), (7, 0.84, 0.2)), "pca") or {})["layer"] == 5
    assert choose(rows((3, 0.7, 0.1)), "logistic") is None
    assert choose([{"method": "pca", "layer": 1, "choice_score": None, "choice_error": None}], "pca") is None


def test_transfer_counts_where_there_are_two_templates() -> None:
    pairs = planted(stems=80, shift=2.0)
    several, alone = scored(pairs), scored(replace(pairs, templates=np.zeros(160, dtype=np.int64)))
    assert several.choice_score == (several.auroc_validation + several.auroc_transfer_validation) / 2
    assert alone.choice_score == alone.auroc_validation and np.isnan(alone.auroc_transfer_validation)
    assert 0 < several.choice_error < 0.1


def test_a_method_that_is_far_better_is_named() -> None:
    row = {"auroc_heldout_low": 0.55, "auroc_heldout_high": 0.7, "auroc_transfer": None, "spearman_length": None}
    row |= {"method": "mean-diff", "auroc_heldout": 0.615, "choice_score": 0.63, "choice_error": 0.05}
    row |= {"auroc_length_adjusted": None}
    better = {**row, "method": "logistic", "auroc_heldout": 0.931, "choice_score": 0.92, "choice_error": 0.02}
    said = list(about_choice({"mean-diff": row, "logistic": better}, "mean-diff", None))
    assert said == [
        "logistic tells the sides apart far better than mean-diff: AUROC 0.931 against 0.615 on the test pairs; "
        "--method logistic exports its directions"
    ]
    near = {**better, "choice_score": 0.69}
    assert not list(about_choice({"mean-diff": row, "logistic": near}, "mean-diff", None))


def test_transfer_is_fitted_to_one_template_and_scored_on_the_others() -> None:
    pairs = planted(stems=40, templates=3, shift=1.5)
    split = split_of(pairs)
    by_hand: list[Floats] = []
    for index in range(3):
        fit, check = split.train & (pairs.templates == index), split.test & (pairs.templates != index)
        unit = pairs.positive[fit].mean(0) - pairs.negative[fit].mean(0)
        projected = np.concatenate([pairs.positive[check], pairs.negative[check]]) @ unit
        by_hand.append(roc_auc_score(np.repeat([1, 0], check.sum()), projected))
    assert scored(pairs).auroc_transfer == pytest.approx(np.mean(by_hand))


def test_transfer_falls_where_each_template_has_a_direction_of_its_own_and_is_unknown_of_one() -> None:
    pairs = planted(shift=3)
    assert scored(pairs).auroc_transfer > 0.65
    turned = (pairs.templates == 1)[:, None]
    difference, middle = pairs.positive - pairs.negative, (pairs.positive + pairs.negative) / 2
    difference = np.where(turned, np.roll(difference, 7, axis=1), difference)
    apart = scored(replace(pairs, positive=middle + difference / 2, negative=middle - difference / 2))
    assert abs(apart.auroc_transfer - 0.5) < 0.1 < apart.auroc_heldout - 0.5
    assert np.isnan(scored(replace(pairs, templates=np.zeros(128, dtype=np.int64))).auroc_transfer)


@pytest.mark.parametrize("method", METHODS)
def test_halves_agree_where_there_is_a_shift_and_not_without(method: str) -> None:
    found, none = scored(planted(shift=8), method), scored(planted(shift=0), method)
    assert found.split_half_cosine > 0.7 > 0.4 > none.split_half_cosine


def test_halves_share_no_stem() -> None:
    # The pairs of a stem are the same, those of two stems have nothing in common.
    pairs = planted(stems=24, templates=4, d=400, shift=0, alike=5)
    assert abs(scored(pairs).split_half_cosine) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_what_the_training_pairs_say_does_not_depend_on_the_others(method: str) -> None:
    pairs = planted(stems=24)
    split, noise = split_of(pairs), np.random.default_rng(1).normal(size=pairs.positive.shape) * 50
    moved = replace(pairs, positive=pairs.positive + np.where(split.train[:, None], 0, noise))
    first, other = scored(pairs, method), scored(moved, method)
    assert (first.auroc_train, first.accuracy_train) == (other.auroc_train, other.accuracy_train)
    assert first.split_half_cosine == other.split_half_cosine
    assert first.cohens_d != other.cohens_d
