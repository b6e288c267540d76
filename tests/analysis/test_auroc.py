"""AUROC equals scikit-learn's and scipy's; its interval equals DeLong's and Obuchowski's by definition, and covers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.special import expit, logit, ndtri
from scipy.stats import mannwhitneyu, norm, t
from sklearn.metrics import roc_auc_score

from actkit.analysis.auroc import Auroc, auroc, auroc_and_error, column_aurocs, stratified_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.columns import Columns

Z = float(ndtri(0.975))
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def stacked(dense: np.ndarray) -> Columns:
    rows, ids = np.nonzero(dense)
    return Columns.of((rows, ids, dense[rows, ids]), *dense.shape)


def example(seed: int) -> Arrays:
    """Columns with many ties, sparse to full; labels; groups of which some have both labels."""
    random = np.random.default_rng(seed)
    n, d = int(random.integers(6, 70)), 8
    dense = random.integers(1, 6, (n, d)) * (random.random((n, d)) < random.random(d))
    labels = random.random(n) < random.uniform(0.2, 0.8)
    labels[:4] = True, True, False, False
    groups = 7 * random.integers(0, n, n) if seed % 2 else 100 - np.arange(n) // 3
    return dense.astype(np.float64), labels, groups


def wins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[positives, negatives] 1 where the positive text scores higher, half where equal."""
    positive, negative = scores[labels][:, None], scores[~labels]
    return (positive > negative) + 0.5 * (positive == negative)


def delong(scores: np.ndarray, labels: np.ndarray) -> float:
    table = wins(scores, labels)
    return float(table.mean(1).var(ddof=1) / len(table) + table.mean(0).var(ddof=1) / table.shape[1])


def obuchowski(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """Cluster by cluster, as in equations 2 to 5 of the paper."""
    table = wins(scores, labels)
    area, m, n = table.mean(), *table.shape
    s10 = s01 = s11 = 0.0
    names = np.unique(groups)
    for name in names:
        x, y = table.mean(1)[groups[labels] == name], table.mean(0)[groups[~labels] == name]
        first, second = x.sum() - len(x) * area, y.sum() - len(y) * area
        s10, s01, s11 = s10 + first**2, s01 + second**2, s11 + first * second
    i10, i01, i = len(np.unique(groups[labels])), len(np.unique(groups[~labels])), len(names)
    s10, s01, s11 = s10 * i10 / ((i10 - 1) * m), s01 * i01 / ((i01 - 1) * n), s11 * i / (i - 1)
    return float(s10 / m + s01 / n + 2 * s11 / (m * n))


def check_interval(found: Auroc, variance: float, quantile: float = Z) -> None:
    half = quantile * variance**0.5 / (found.value * (1 - found.value))
    assert (found.low, found.high) == pytest.approx(expit(logit(found.value) + np.array([-half, half])), rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_value_equals_scikit_learns_and_scipys_with_heavy_ties(seed: int) -> None:
    dense, labels, groups = example(seed)
    for scores in dense.T:
        value = auroc(scores, labels, groups).value
        assert value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        u = mannwhitneyu(scores[labels], scores[~labels], method="asymptotic").statistic if np.ptp(scores) else None
        assert u is None or value == pytest.approx(u / labels.sum() / (~labels).sum(), abs=1e-12)


@pytest.mark.quick(4)
@pytest.mark.parametrize("seed", range(12))
def test_interval_is_delongs_for_single_texts_and_obuchowskis_for_groups(seed: int) -> None:
    dense, labels, groups = example(seed)
    checked = 0
    for scores in dense.T:
        if 0 < auroc(scores, labels).value < 1 and delong(scores, labels) > 0:
            check_interval(auroc(scores, labels), delong(scores, labels))
            few = float(t.ppf(0.975, len(np.unique(groups)) - 1))
            check_interval(auroc(scores, labels, groups), obuchowski(scores, labels, groups), few)
            assert auroc(scores, labels, 5 * np.arange(len(scores))) == auroc(scores, labels)
            checked += 1
    assert checked >= 3


@pytest.mark.quick(24)
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("grouping", ["none", "singles", "groups"])
def test_columns_get_what_each_gets_alone_with_its_zeros(seed: int, grouping: str) -> None:
    dense, labels, groups = example(seed)
    chosen = {"none": None, "singles": np.arange(len(labels))[::-1], "groups": groups}[grouping]
    found = column_aurocs(stacked(dense), Clusters.of(labels, chosen))
    alone = [auroc(scores, labels, chosen) for scores in dense.T]
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(
            getattr(found, name), [getattr(single, name) for single in alone], rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("seed", range(12))
def test_stratified_areas_count_pairs_of_one_stratum_only(seed: int) -> None:
    dense, labels, strata = example(seed)
    found = stratified_aurocs(stacked(dense), Clusters.of(labels, strata))
    same = strata[labels][:, None] == strata[~labels]
    for j, scores in enumerate(dense.T):
        assert found[j] == pytest.approx(wins(scores, labels)[same].mean(), abs=1e-12)
    np.testing.assert_allclose(
        stratified_aurocs(stacked(dense), Clusters.of(labels, 0 * strata)),
        column_aurocs(stacked(dense), Clusters.of(labels, None)).value,
    )


def test_strata_of_one_label_leave_nothing_to_compare() -> None:
    labels = np.array([True, True, False, False])
    found = stratified_aurocs(stacked(np.eye(4)), Clusters.of(labels, np.array([0, 0, 1, 1])))
    assert np.isnan(found).all()


@pytest.mark.parametrize("label", [True, False])
def test_a_class_without_texts_gives_nan(label: bool) -> None:
    labels = np.full(5, label)
    alone, many = auroc(np.arange(5), labels), column_aurocs(stacked(np.eye(5)), Clusters.of(labels, None))
    assert np.isnan([alone.value, alone.low, alone.high]).all()
    assert np.isnan([many.value, many.low, many.high]).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_perfect_separation_has_an_interval_with_a_width(grouped: bool) -> None:
    """Of few clusters its end is where Newcombe's score equation holds; texts that share groups make it wider."""
    labels = np.arange(20) >= 12
    groups = np.arange(20) // 2 if grouped else None
    up, down = auroc(np.arange(20), labels, groups), auroc(-np.arange(20), labels, groups)
    m, n = (4, 6) if grouped else (8, 12)
    star, low = (m + n) / 2 - 1, up.low
    spread = low * (1 - low) * (1 + star * (1 - low) / (2 - low) + star * low / (1 + low)) / (m * n)
    assert (up.value, up.high, down.value, down.low) == (1, 1, 0, 0)
    assert 1 - low == pytest.approx(Z * spread**0.5, rel=1e-6) or low == pytest.approx(1 - 7.39 * Z**2 / 2 / 96, 1e-3)
    assert 0.4 < low < 0.9
    assert down.high == pytest.approx(1 - low, rel=1e-9)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("n", [12, 24, 48, 96])
def test_no_lower_auroc_reads_as_better_than_a_perfect_one(n: int, grouped: bool) -> None:
    """However many of the texts nearest to the other class are the wrong way round, and by how far."""
    labels, groups = np.repeat([True, False], n), np.tile(np.arange(n) // 2, 2) if grouped else None
    perfect = auroc(labels.astype(float), labels, groups)
    random = np.random.default_rng(n)
    for wrong in range(1, 6):
        scores = np.concatenate([np.arange(n) + 100.0, np.arange(n)])
        scores[random.permutation(n)[:wrong]] = n - 1 - random.integers(1, 4, wrong) + 0.5
        found = auroc(scores, labels, groups)
        assert found.value < 1 and found.low <= perfect.low + 1e-9
        turned = auroc(-scores, labels, groups)
        assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize("wanted", [0.98, 0.995])
def test_the_interval_near_one_covers_where_a_groups_texts_resemble_each_other(wanted: float, alike: float) -> None:
    random, n = np.random.default_rng(1), (24, 4)
    labels, groups, hits = np.repeat([True, False], 96), np.tile(np.repeat(np.arange(24), 4), 2), 0
    for _ in range(200):
        sides = alike**0.5 * random.normal(size=(2, 24, 1)) + (1 - alike) ** 0.5 * random.normal(size=(2, *n))
        found = auroc(np.concatenate([sides[0].ravel() + 2**0.5 * norm.ppf(wanted), sides[1].ravel()]), labels, groups)
        hits += found.low <= wanted <= found.high
    assert hits >= 0.89 * 200


def test_where_everything_ties_the_interval_is_around_a_half() -> None:
    found = auroc(np.zeros(60), np.arange(60) % 2 == 0)
    assert found.value == 0.5 and found.low < 0.45 and found.high == pytest.approx(1 - found.low)


@pytest.mark.parametrize("n", range(6, 20))
def test_where_both_texts_of_each_pair_have_one_score_rounding_makes_no_interval(n: int) -> None:
    """A feature of what the two answers begin with: its variance cancels, and the interval would have no width."""
    scores = np.repeat(np.random.default_rng(n).random(n), 2)
    labels, groups = np.tile([True, False], n), np.repeat(np.arange(n), 2)
    alone, column = auroc(scores, labels, groups), column_aurocs(stacked(scores[:, None]), Clusters.of(labels, groups))
    assert alone.value == column.value[0] == 0.5
    assert alone.high - alone.low == pytest.approx(column.high[0] - column.low[0]) and alone.high - alone.low > 0.1


def test_one_positive_text_has_a_wide_interval() -> None:
    found = auroc(np.arange(50), np.arange(50) == 40)
    assert found.value == pytest.approx(40 / 49) and found.low < 0.4 and found.high > 0.9


LABELS = np.arange(4) % 2 == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc(np.array([0.0, np.nan, 1.0, 2.0]), LABELS), "no number"),
        (lambda: auroc(np.arange(3), LABELS), "3 scores"),
        (lambda: auroc(np.arange(4), LABELS, np.arange(3)), "3 groups"),
        (lambda: column_aurocs(stacked(np.eye(5)), Clusters.of(LABELS, None)), "5 rows"),
    ],
)
def test_what_does_not_fit_is_an_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def rectified(seed: int, wanted: float, sizes: np.ndarray, columns: int) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Columns max(0, z - c), active in 30 % of the negative texts, whose AUROC is `wanted` where texts are endless.

    Texts come in groups of these sizes with one label each; half of the variance of z is between groups.
    """
    random, c = np.random.default_rng(seed), float(norm.isf(0.3))
    z = np.linspace(c, c + 12, 4001)
    low, high = 0.0, 8.0
    for _ in range(50):
        shift = (low + high) / 2
        above = trapezoid(norm.pdf(z - shift) * norm.cdf(z), z)
        area = above + 0.5 * norm.cdf(c - shift) * norm.cdf(c)
        low, high = (shift, high) if area < wanted else (low, shift)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = (np.arange(len(sizes)) % 5 < 2)[groups]
    shared = random.normal(size=(len(sizes), columns))[groups] * (0.5**0.5 if sizes.max() > 1 else 0)
    own = random.normal(size=(len(groups), columns)) * (0.5**0.5 if sizes.max() > 1 else 1)
    return stacked(np.maximum(shared + own + shift * labels[:, None] - c, 0)), labels, groups


@pytest.mark.parametrize("wanted", [0.5, 0.65, 0.8])
def test_the_interval_covers_the_truth_as_often_as_it_says(wanted: float) -> None:
    columns, labels, _ = rectified(5, wanted, np.ones(300, dtype=np.int64), 2000)
    found = column_aurocs(columns, Clusters.of(labels, None))
    assert 0.93 <= ((found.low <= wanted) & (wanted <= found.high)).mean() <= 0.97


@pytest.mark.quick(1)
@pytest.mark.parametrize("wanted", [0.5, 0.65, 0.8])
def test_with_groups_only_the_clustered_interval_covers(wanted: float) -> None:
    sizes = np.tile([1, 2, 5, 8], 40)
    columns, labels, groups = rectified(6, wanted, sizes, 1500)
    covered = {}
    for name, of in (("clustered", groups), ("single", None)):
        found = column_aurocs(columns, Clusters.of(labels, of))
        covered[name] = ((found.low <= wanted) & (wanted <= found.high)).mean()
    assert 0.93 <= covered["clustered"] <= 0.97
    assert covered["single"] < 0.88


@pytest.mark.slow
@pytest.mark.parametrize("stems", [3, 6])
def test_the_interval_of_few_groups_covers_where_the_normals_does_not(stems: int) -> None:
    """Three pairs a stem that resemble each other: with the normal quantile the truth is missed too often."""
    random, shift = np.random.default_rng(0), 1.25
    stem, truth = np.repeat(np.arange(stems), 3), norm.cdf(2 * shift / np.sqrt(4.5))
    labels, hits, by_normal = np.repeat([True, False], 3 * stems), 0, 0
    for _ in range(300):
        both = random.normal(0, 0.5, stems)[stem]
        scores = [
            side + both + random.normal(size=stems)[stem] + random.normal(size=3 * stems) for side in (shift, -shift)
        ]
        found = auroc(np.concatenate(scores), labels, np.tile(stem, 2))
        hits += found.low <= truth <= found.high
        ends = np.array([found.low, found.high])
        if found.value < 1:
            middle = logit(found.value)
            ends = expit(middle + (logit(ends) - middle) * Z / t.ppf(0.975, stems - 1))
        by_normal += ends[0] <= truth <= ends[1]
    assert hits > 0.93 * 300
    assert stems > 3 or by_normal < 0.93 * 300


def auroc_error(*of: Any) -> float:
    return auroc_and_error(*of)[1]


def test_the_standard_error_is_obuchowskis_and_never_nothing() -> None:
    """DeLong, DeLong & Clarke-Pearson's, of placements; of a perfect AUROC, Hanley & McNeil's half a pair off 1."""
    random, labels = np.random.default_rng(4), np.repeat([True, False], 30)
    scores = random.normal(size=60) + labels
    won = (scores[:30, None] > scores[None, 30:]).astype(float)
    of_texts = np.sqrt(won.mean(1).var(ddof=1) / 30 + won.mean(0).var(ddof=1) / 30)
    assert auroc_error(scores, labels) == pytest.approx(of_texts)
    whole = auroc_error(np.repeat(scores, 3), np.repeat(labels, 3), np.repeat(np.arange(60), 3))
    assert whole == pytest.approx(of_texts)
    texts = np.arange(16.0)
    value = 1 - 0.5 / 64
    first, second = value / (2 - value), 2 * value**2 / (1 + value)
    least = np.sqrt((value * (1 - value) + 7 * (first - value**2) + 7 * (second - value**2)) / 64)
    assert auroc_error(texts, texts >= 8) == pytest.approx(least)
    assert np.isnan(auroc_error(texts, texts >= 0))
    worse = np.where(texts == 7, 8.5, texts)
    assert 1 - auroc_error(texts, texts >= 8) > auroc(worse, texts >= 8).value - auroc_error(worse, texts >= 8)


def stems_drawn(random: np.random.Generator, truths: np.ndarray, stems: int, texts: int) -> np.ndarray:
    """Scores [2 * stems * texts, n_layers] of layers that resemble each other, each stem with a level and an effect."""
    n = len(truths)
    shift = norm.ppf(truths) * np.sqrt(2 + 0.5**2)

    def drawn(*shape: int) -> np.ndarray:
        return np.sqrt(0.7) * random.normal(size=(*shape, 1)) + np.sqrt(0.3) * random.normal(size=(*shape, n))

    level, effect = np.sqrt(0.3) * drawn(stems, 1), 0.5 * drawn(stems, 1)
    sides = [sign * (shift / 2 + effect / 2) + level + np.sqrt(0.7) * drawn(stems, texts) for sign in (1, -1)]
    return np.concatenate([side.reshape(-1, n) for side in sides])


@pytest.mark.slow
@pytest.mark.parametrize(("stems", "texts"), [(8, 1), (8, 3), (16, 2)])
def test_a_standard_error_is_one_and_chooses_better_layers_than_half_an_interval(stems: int, texts: int) -> None:
    labels = np.repeat([True, False], stems * texts)
    groups = np.tile(np.repeat(np.arange(stems), texts), 2)
    truths = np.array([0.6, 0.8, 0.9, 0.97, 0.995])
    random = np.random.default_rng(2)
    values, errors, halves = [], [], []
    for _ in range(400):
        scores = stems_drawn(random, truths, stems, texts)
        found = [auroc(layer, labels, groups) for layer in scores.T]
        values.append([each.value for each in found])
        halves.append([(each.value - each.low) / 2 for each in found])
        errors.append([auroc_error(layer, labels, groups) for layer in scores.T])
    value, error, half = np.array(values), np.array(errors), np.array(halves)
    spread = value.std(0)
    ratio = (error.mean(0) / spread)[:4]
    assert ratio.min() > 0.75 and ratio.max() < 1.5
    covers, half_covers = ((np.abs(value - value.mean(0)) <= reach).mean(0) for reach in (error, half))
    nominal = 2 * norm.cdf(1) - 1
    assert np.abs(covers - nominal).mean() < np.abs(half_covers - nominal).mean()
    best = value.argmax(1)
    rows = np.arange(len(value))
    lost = {}
    for name, reach in (("error", error), ("half", half)):
        near = value >= (value[rows, best] - reach[rows, best])[:, None]
        lost[name] = (truths.max() - truths[near.argmax(1)]).mean()
    assert lost["error"] < 0.7 * lost["half"]
