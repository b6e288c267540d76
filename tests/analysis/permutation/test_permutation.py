"""p-values by exchange of labels: equal to enumeration, uniform when nothing is there, near the truth far out."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom, mannwhitneyu, multivariate_hypergeom, pearson3, permutation_test, rankdata
from sklearn.metrics import roc_auc_score

from actkit import docs as docs_of_actkit
from actkit.analysis.columns import Columns
from actkit.analysis.permutation import p_values as p_values_module
from actkit.analysis.permutation import redraws as redraws_module
from actkit.analysis.permutation import redraws as score_blocks_module
from actkit.analysis.permutation.conditional import conditional_tails, cumulants, tails
from actkit.analysis.permutation.design import Design, design_of, scores_of
from actkit.analysis.permutation.p_values import Exchange, exact_tails
from actkit.analysis.permutation.redraws import ScoreBlocks, drawn_tails
from actkit.schemas import TABLES
from tests.analysis.permutation.in_memory import FOLDER, Found, largest_under_null, p_values, permuted

KINDS = ("texts", "groups", "within-groups")


def stacked(dense: np.ndarray) -> Columns:
    rows, ids = np.nonzero(dense)
    return Columns.of((rows, ids, dense[rows, ids]), *dense.shape)


def scored(columns: Columns, design: Design) -> ScoreBlocks:
    """The scores of columns over the used texts, as one block."""
    found = ScoreBlocks(FOLDER)
    found.add(scores_of(columns.where(design.used), design.unit, len(design.stratum)))
    return found


def example(kind: str, seed: int, n: int = 9, d: int = 6) -> tuple[np.ndarray, np.ndarray, Design]:
    """Sparse columns, half of them with ties, labels, and a design of this kind (some groups are pure in all)."""
    random = np.random.default_rng(seed)
    dense = random.integers(1, 4, (n, d)) * (random.random((n, d)) < random.random(d))
    dense = np.where(np.arange(d) % 2, dense, dense * random.random((n, d)))
    sizes = [1, 2, 3, 2, 1, 3, 2] if kind == "groups" else [3, 2, 4, 1, 2, 5]
    groups = np.arange(n) if kind == "texts" else np.resize(np.repeat(np.arange(len(sizes)), sizes), n)
    labels = (random.permutation(20) < 10)[groups] if kind == "groups" else random.permutation(n) < n // 2
    if kind == "within-groups":
        labels[0], labels[1] = True, False
    elif labels.all() or not labels.any():
        labels = groups < groups.max() / 2
    design = design_of(labels, groups)
    assert design.kind == kind
    return dense.astype(np.float64), labels, design


def enumerated(design: Design) -> np.ndarray:
    """[n, exchanges] every labelling that the design allows."""
    members = [np.flatnonzero(design.stratum == index) for index in range(design.n_strata)]
    choices = (combinations(of, int(design.unit_labels[of].sum())) for of in members)
    found = []
    for chosen in product(*choices):
        units = np.isin(np.arange(len(design.stratum)), [unit for part in chosen for unit in part])
        labels = design.labels.copy()
        labels[design.used] = units[design.unit]
        found.append(labels)
    return np.array(found).T


def statistic(scores: np.ndarray, labels: np.ndarray, design: Design) -> np.ndarray:
    """Twice T, from its definition; `labels` [n] or [n, exchanges]."""
    ranks = 2 * rankdata(scores[design.used])
    return (ranks - ranks.mean()) @ labels[design.used]


def truth(scores: np.ndarray, labels: np.ndarray, design: Design) -> float:
    every, observed = statistic(scores, enumerated(design), design), statistic(scores, labels, design)
    return float(min(1, 2 * min((every <= observed + 1e-6).mean(), (every >= observed - 1e-6).mean())))


def test_designs_follow_labels_and_groups() -> None:
    labels = np.array([True, True, False, False, True, False])
    assert design_of(labels, np.array([9, 3, 5, 1, 0, 2])).kind == "texts"
    assert design_of(labels, np.array([1, 1, 0, 0, 7, 0])).kind == "groups"
    within = design_of(labels, np.array([4, 4, 4, 2, 1, 1]))
    assert within.kind == "within-groups" and within.used.tolist() == [True, True, True, False, True, True]
    with pytest.raises(ValueError, match="6 labels and 5 groups"):
        design_of(labels, np.arange(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_allowed_exchange_is_drawn_equally_often_and_no_other(kind: str, seed: int) -> None:
    _, _, design = example(kind, seed, n=7)
    every = {tuple(labels) for labels in enumerated(design).T.tolist()}
    found, counts = np.unique(
        permuted(design, np.random.default_rng(seed), 40 * len(every)), axis=1, return_counts=True
    )
    assert {tuple(labels) for labels in found.T.tolist()} == every
    assert np.abs(counts - 40).max() < 5 * 40**0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_cumulants_equal_those_of_all_exchanges(kind: str, seed: int) -> None:
    dense, labels, design = example(kind, seed)
    found = cumulants(scores_of(stacked(dense).where(design.used), design.unit, len(design.stratum)), design)
    for j, scores in enumerate(dense.T):
        every = statistic(scores, enumerated(design), design)
        assert found.observed[j] == pytest.approx(statistic(scores, labels, design) - every.mean(), abs=1e-8)
        assert found.variance[j] == pytest.approx(every.var(), abs=1e-8)
        assert found.third[j] == pytest.approx(((every - every.mean()) ** 3).mean(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_p_equals_enumeration(kind: str, seed: int) -> None:
    """Of `draws`, to five standard errors; `exact` to the last digits; NaN where no text that counts is active."""
    dense, labels, design = example(kind, seed)
    dense[:, -1] = 0
    found = p_values(stacked(dense), labels, design, np.random.default_rng(seed), 10_000)
    for j, scores in enumerate(dense.T):
        if not scores[design.used].any():
            assert np.isnan(found.p[j]) and found.method[j] == ""
            continue
        allowed = {"exact": 1e-9, "draws": 0.05}[str(found.method[j])]
        assert found.p[j] == pytest.approx(truth(scores, labels, design), abs=allowed)
    assert kind != "texts" or "exact" in found.method


def test_p_is_twice_the_smaller_tail_and_says_so_where_it_is_read() -> None:
    """With labels and scores that are skewed the tails differ: |T| as large on either side would give another p."""
    scores = np.array([5.0, 4.0, 3.0, 0, 0, 0, 0, 0, 0, 0])
    labels = np.arange(10) < 2
    design = design_of(labels, np.arange(10))
    every, observed = statistic(scores, enumerated(design), design), statistic(scores, labels, design)
    both_tails = (np.abs(every) >= abs(observed) - 1e-6).mean()
    found = p_values(stacked(scores[:, None]), labels, design, np.random.default_rng(0))
    assert found.p[0] == pytest.approx(2 * (every >= observed - 1e-6).mean()) == pytest.approx(2 / 45)
    assert both_tails != pytest.approx(found.p[0])
    said = [column.meaning for column in TABLES["feature_scores"] if column.name == "p_value"]
    docs = Path(docs_of_actkit.__file__).parent
    said += [(docs / page).read_text(encoding="utf-8") for page in ("statistics.md", "reward-detect.md", "tables.md")]
    assert all("twice the smaller tail" in " ".join(text.split()) for text in said)


@pytest.mark.parametrize("active", [1, 2, 5, 12, 40, 64])
def test_exact_p_equals_scipys_enumeration_or_million_draws(active: int) -> None:
    random = np.random.default_rng(active)
    n, few = 90, active <= 5
    scores, labels = np.zeros(n), random.permutation(n) < 30
    scores[random.permutation(n)[:active]] = random.lognormal(size=active)
    found = p_values(stacked(scores[:, None]), labels, design_of(labels, np.arange(n)), random)
    assert found.method.tolist() == ["exact"]
    if few:  # enumerate which of the active texts are positive, and count the ways for the others
        at, design = np.flatnonzero(scores), design_of(labels, np.arange(n))
        ranks = rankdata(scores) - (n + 1) / 2
        every = np.array(list(product([False, True], repeat=active)))
        weights = hypergeom.pmf(every.sum(1), n, active, 30) / np.array(
            [(every.sum(1) == k).sum() for k in every.sum(1)]
        )
        t = every @ ranks[at] + (30 - every.sum(1)) * ranks[scores == 0][0]
        observed = statistic(scores, labels, design) / 2
        want = 2 * min(weights[t <= observed + 1e-9].sum(), weights[t >= observed - 1e-9].sum())
        assert found.p[0] == pytest.approx(min(1, want), rel=1e-9)
    else:
        design = design_of(labels, np.arange(n))
        with closing(scored(stacked(scores[:, None]), design)) as blocks:
            low, high = drawn_tails(blocks, design, random, 200_000)
        want = min(1, 2 * min(low[0], high[0]))
        assert found.p[0] == pytest.approx(want, abs=6 * (want / 2e5) ** 0.5)


def test_exact_p_goes_far_below_what_draws_can_show() -> None:
    """All 24 active texts of 2,000 are positive, half of the texts are: the chance is that of a hypergeometric."""
    labels = np.arange(2000) < 1000
    scores = np.where(np.arange(2000) < 24, np.arange(2000) + 1.0, 0.0)[:, None]
    found = p_values(stacked(scores), labels, design_of(labels, np.arange(2000)), np.random.default_rng(0))
    assert found.p[0] == pytest.approx(2 * hypergeom.pmf(24, 2000, 24, 1000), rel=1e-9) and found.p[0] < 1e-6


def tilted(random: np.random.Generator, n: int, m: int, active: int, odds: float, columns: int) -> Columns:
    """Columns with `active` nonzeros each, in which the first m of n texts have a larger or smaller share."""
    times = random.exponential(size=(n, columns)) / np.where(np.arange(n) < m, np.exp(odds), 1)[:, None]
    rows = np.sort(np.argsort(times, axis=0)[:active].T, axis=1)
    values = random.lognormal(size=rows.size).astype(np.float32)
    return Columns(n, np.arange(columns + 1) * active, rows.ravel().astype(np.int32), values)


@pytest.mark.quick(3)
@pytest.mark.parametrize(("share", "off"), [(0.5, 0.02), (0.1, 0.2), (0.05, 0.2)])
@pytest.mark.parametrize("active", [65, 100])
def test_the_limit_for_texts_is_near_the_exact_p_down_to_a_millionth(share: float, off: float, active: int) -> None:
    """Where both can be had. Without conditioning on the active positives it is off by up to 3 times here."""
    random, n = np.random.default_rng(active), 2000
    m = int(n * share)
    labels = np.arange(n) < m
    design = design_of(labels, np.arange(n))
    seen = []
    for odds in (0, 0.7, 1.4, -0.7):
        scores = scores_of(tilted(random, n, m, active, odds, 200), design.unit, n)
        exact = 2 * np.minimum(*exact_tails(scores.observed(labels), scores.active, n, m))
        limit = 2 * np.minimum(*conditional_tails(scores, labels))
        seen.append(np.stack([exact, limit / exact]))
    exact, ratio = np.concatenate(seen, 1)
    assert (exact < 1e-4).sum() > 20
    assert np.abs(ratio[exact > 1e-6] - 1).max() <= off


def tied_truth(weak: int, strong: int, labels: np.ndarray, wanted: tuple[int, int]) -> float:
    """p of a column with `weak` texts at one level, `strong` ones at a higher; `wanted` of either are positive."""
    n, m = len(labels), int(labels.sum())
    zeros = n - weak - strong
    levels = np.array([(zeros + 1) / 2, zeros + (weak + 1) / 2, zeros + weak + (strong + 1) / 2])
    every = np.array([(m - i - j, i, j) for i in range(weak + 1) for j in range(strong + 1) if 0 <= m - i - j <= zeros])
    chances = multivariate_hypergeom.pmf(every, [zeros, weak, strong], m)
    t, observed = every @ levels, np.array([m - sum(wanted), *wanted]) @ levels
    return float(min(1, 2 * min(chances[t <= observed + 1e-6].sum(), chances[t >= observed - 1e-6].sum())))


@pytest.mark.parametrize(("weak", "strong"), [(120, 0), (60, 60), (105, 15), (15, 105), (117, 3)])
def test_the_limit_for_texts_allows_for_values_that_tie(weak: int, strong: int) -> None:
    """With one level of activation T has hypergeometric steps, which p follows exactly; with two it errs upwards."""
    random, n = np.random.default_rng(weak), 400
    labels, dense, want = np.arange(n) < 130, np.zeros((n, 40)), []
    for j in range(40):
        chances = np.where(labels, np.exp(random.uniform(-1, 1)), 1.0)
        active = random.choice(n, weak + strong, replace=False, p=chances / chances.sum())
        dense[active, j] = np.repeat([1.0, 2.0], [weak, strong])
        want.append(tied_truth(weak, strong, labels, tuple(int(labels[dense[:, j] == unit].sum()) for unit in (1, 2))))
    found = p_values(stacked(dense), labels, design_of(labels, np.arange(n)), random)
    assert set(found.method) == {"limit"} and min(want) < 1e-3
    ratio = found.p / want
    assert ratio.min() >= 0.98 and ratio.max() <= 1.25
    assert strong or ratio == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize(("columns", "drawn"), [(1, 9990), (100, 9990), (300, 99_900)])
def test_p_from_draws_is_never_0_and_the_more_columns_the_smaller_it_can_be(columns: int, drawn: int) -> None:
    """With too few draws no column of many could have a small q."""
    labels, draw = np.arange(200) < 60, np.random.default_rng(1)
    scores = (draw.random((200, columns)) < 0.15).astype(np.float64)
    scores[:, 0] = np.arange(200) < 30
    found = p_values(stacked(scores), labels, design_of(labels, np.arange(200)), np.random.default_rng(0), 999)
    assert found.method[0] == "draws" and found.p[0] == 2 / (drawn + 1)


def test_the_limit_for_a_dense_column_is_near_the_mann_whitney_test_and_scipys_draws() -> None:
    random = np.random.default_rng(3)
    scores, labels = np.maximum(random.normal(size=300), 0), random.random(300) < 0.4
    scores[labels] += 0.15 * (scores[labels] > 0)
    design = design_of(labels, np.arange(300))
    found = p_values(stacked(scores[:, None]), labels, design, random).p[0]
    asymptotic = mannwhitneyu(scores[labels], scores[~labels], use_continuity=False, method="asymptotic").pvalue
    ranks = rankdata(scores)
    drawn = permutation_test(
        (ranks[labels], ranks[~labels]), lambda x, y, axis: x.sum(axis=axis), n_resamples=50_000, vectorized=True, rng=1
    )
    assert found == pytest.approx(asymptotic, rel=0.03)
    assert found == pytest.approx(drawn.pvalue, rel=0.1)


def test_the_smooth_limit_of_wide_columns_agrees_with_the_conditional_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    dense = random.lognormal(size=(6000, 40)) * (random.random((6000, 40)) < 0.4)
    labels = random.random(6000) < 0.5
    design = design_of(labels, np.arange(6000))
    conditional = p_values(stacked(dense), labels, design, random).p
    monkeypatch.setattr(p_values_module, "WIDE", 100)
    smooth = p_values(stacked(dense), labels, design, random).p
    assert not np.array_equal(smooth, conditional)
    np.testing.assert_allclose(smooth, conditional, rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["groups", "within-groups"])
def test_the_limit_for_grouped_texts_is_near_many_draws(kind: str) -> None:
    random = np.random.default_rng(6)
    sizes = np.resize([1, 2, 4, 7] if kind == "groups" else [2], 700)
    groups = np.repeat(np.arange(700), sizes)
    n = len(groups)
    labels = (random.random(700) < 0.5)[groups] if kind == "groups" else np.arange(n) % 2 == 0
    rates = 0.2 if kind == "groups" else 0.5
    columns = stacked(
        random.lognormal(size=(n, 25))
        * (random.random((n, 25)) < rates + random.uniform(0, 0.06, 25) * labels[:, None])
    )
    design = design_of(labels, groups)
    found = p_values(columns, labels, design, random)
    assert design.kind == kind and set(found.method) == {"limit"}
    with closing(scored(columns, design)) as blocks:
        drawn = np.minimum(1, 2 * np.minimum(*drawn_tails(blocks, design, random, 100_000)))
    np.testing.assert_allclose(found.p, drawn, rtol=0.1, atol=0.005)
    assert drawn.min() < 0.02


def test_gamma_tails_equal_scipys() -> None:
    t = np.random.default_rng(5).normal(size=50) * 6
    for skew in (0.9, -1.3, 1e-3, 0.0):
        low, high = tails(t, np.full(50, 4.0), np.full(50, 8.0 * skew))
        np.testing.assert_allclose(low, pearson3.cdf(t / 2, skew), rtol=1e-6, atol=1e-14)
        np.testing.assert_allclose(high, pearson3.sf(t / 2, skew), rtol=1e-6, atol=1e-14)


def study(kind: str, seed: int, share: float, n: int) -> Iterator[tuple[Columns, np.ndarray, Design]]:
    """Columns from rare to dense, heavy-tailed, like within groups; and labels that know nothing of them."""
    random = np.random.default_rng(seed)
    sizes = {"texts": [1], "groups": [1, 2, 4, 7], "within-groups": [2, 4, 5]}[kind]
    groups = np.repeat(np.arange(n), np.resize(sizes, n))[:n]
    z = random.standard_t(2, (n, 60)) + 1.5 * random.normal(size=(n, 60))[groups] * (kind != "texts")
    rates = np.exp(np.linspace(np.log(4 / n), np.log(0.6), 60))
    cut = np.take_along_axis(np.sort(z, 0), (n * (1 - rates)).astype(int)[None], 0)
    columns = stacked(np.maximum(z - cut, 0))
    if kind == "groups":
        named = groups.max() + 1
        labels = (random.permutation(named) < max(share * named, 2))[groups]
    else:
        labels = random.permutation(n) < share * n
    design = design_of(labels, groups)
    assert design.kind == kind
    while True:
        yield columns, permuted(design, random, 1)[:, 0], design


def pooled(kind: str, share: float, n: int, runs: int, draws: int) -> dict[str, np.ndarray]:
    """p of null columns by method."""
    found: dict[str, list[np.ndarray]] = {}
    random = np.random.default_rng(7)
    for (columns, labels, design), _ in zip(study(kind, 8, share, n), range(runs), strict=False):
        p = p_values(columns, labels, design, random, draws)
        for method in ("exact", "limit", "draws"):
            found.setdefault(method, []).append(p.p[p.method == method])
    return {method: np.concatenate(p) for method, p in found.items() if np.concatenate(p).size}


def check_null(found: dict[str, np.ndarray]) -> None:
    for method, p in found.items():
        for level in (0.05, 0.01, 0.001):
            # Columns with groups or few active texts go together a little: five standard errors of independent ones.
            assert (p <= level).mean() <= level + 5 * (level / len(p)) ** 0.5 + 0.1 * level, (method, level)
        assert (p <= 0.5).mean() > 0.3, method


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_p_is_not_too_small_when_nothing_is_there(kind: str, share: float) -> None:
    found = pooled(kind, share, 600, 30, 199)
    assert set(found) >= {"texts": {"exact", "limit"}}.get(kind, {"draws"})
    check_null(found)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_p_is_uniform_over_many_studies_in_which_nothing_is_there(kind: str, share: float) -> None:
    found = pooled(kind, share, 2400, 600, 499)
    check_null(found)
    for level in (0.05, 0.01) if "limit" in found else ():
        assert (found["limit"] <= level).mean() == pytest.approx(level, rel=0.2)


def test_columns_that_cannot_tell_have_a_p_of_1_and_one_class_has_none() -> None:
    labels = np.arange(12) % 3 == 0
    equal = stacked(np.ones((12, 1)))
    for groups in (np.arange(12), np.arange(12) % 3, np.arange(12) // 3):
        found = p_values(equal, labels, design_of(labels, groups), np.random.default_rng(0), 99)
        assert found.p.tolist() == [1.0]
    alike = np.ones(12, dtype=np.bool_)
    for groups in (np.arange(12), np.arange(12) // 3):
        design = design_of(alike, groups)
        assert np.isnan(p_values(equal, alike, design, np.random.default_rng(0)).p).all()
        assert np.isnan(largest_under_null(equal, design, np.random.default_rng(0), 5)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_draws_are_as_good_as_any(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, labels, design = example(kind, 3, n=40, d=12)
    columns = stacked(dense)
    whole = p_values(columns, labels, design, np.random.default_rng(0), 20_000)
    null = largest_under_null(columns, design, np.random.default_rng(0), 3000)
    monkeypatch.setattr(redraws_module, "LABELS", 5000)
    parted = p_values(columns, labels, design, np.random.default_rng(0), 20_000)
    again = largest_under_null(columns, design, np.random.default_rng(1), 3000)
    np.testing.assert_array_equal(parted.method, whole.method)
    np.testing.assert_allclose(parted.p, whole.p, atol=0.03)
    np.testing.assert_allclose(null.mean(), again.mean(), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_columns_change_no_bit(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, labels, design = example(kind, 3, n=40, d=12)
    columns, random = stacked(dense), np.random.default_rng(0)
    whole = p_values(columns, labels, design, random, 50)
    null = largest_under_null(columns, design, random, 300)
    assert set(whole.method) != {"limit"} and (kind == "texts" or "draws" in whole.method)
    monkeypatch.setattr(score_blocks_module, "PRODUCTS", 90)
    random = np.random.default_rng(0)
    with closing(Exchange(design, tmp_path)) as parted:
        for some in np.array_split(dense, 5, axis=1):
            parted.add(stacked(some))
        found, again = Found(*parted.p_values(random, 50)), parted.largest(random, 300)
    np.testing.assert_array_equal(found.method, whole.method)
    np.testing.assert_array_equal(found.p, whole.p)
    np.testing.assert_array_equal(again, null)
    assert not list(tmp_path.iterdir())


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_under_null_is_the_largest_auroc_of_the_redrawn_labels(kind: str) -> None:
    """Over all texts, those of pure groups included."""
    dense, labels, design = example(kind, 7, n=31)
    assert kind != "within-groups" or labels[~design.used].any()
    found = largest_under_null(stacked(dense), design, np.random.default_rng(6), 40)
    drawn = permuted(design, np.random.default_rng(6), 40)
    want = [max(abs(roc_auc_score(relabelled, scores) - 0.5) + 0.5 for scores in dense.T) for relabelled in drawn.T]
    np.testing.assert_allclose(found, want, rtol=1e-12)


def test_fewer_draws_are_made_of_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, _, design = example("texts", 5, n=31)
    monkeypatch.setattr(redraws_module, "MOST_PRODUCTS", 250 * np.count_nonzero(dense))
    for asked, made in ((1000, 250), (100, 100)):
        assert len(largest_under_null(stacked(dense), design, np.random.default_rng(6), asked)) == made
    monkeypatch.setattr(redraws_module, "MOST_PRODUCTS", 1)
    assert len(largest_under_null(stacked(dense), design, np.random.default_rng(6), 1000)) == 200


LARGE = """
import sys, tempfile, time
from contextlib import closing
from pathlib import Path
import numpy as np
from actkit.analysis.auroc import column_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.feature_tests.column_file import ColumnFile
from actkit.analysis.permutation.design import design_of
from actkit.analysis.permutation.p_values import Exchange
from actkit.pipeline.provenance import peak_memory_mb

n, d, random = 100_000, 16_384, np.random.default_rng(0)
rates = np.exp(random.uniform(np.log(1e-5), np.log(0.2), d))
rates *= 30e6 / (rates.sum() * n)

def parts():
    again = np.random.default_rng(1)
    for first in range(0, n, 500):
        rows, ids = np.nonzero(again.random((500, d), dtype=np.float32) < rates)
        yield rows + first, ids.astype(np.int32), again.random(len(rows), dtype=np.float32) + 0.01

groups = np.arange(n) // {"texts": 1, "groups": 4, "within-groups": 2}[sys.argv[1]]
labels = (random.random(n) < 0.4)[groups] if sys.argv[1] == "groups" else random.random(n) < 0.4
design = design_of(labels, groups)
begin, nonzeros = time.perf_counter(), 0
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    with closing(ColumnFile(parts, n, d, path)) as columns, closing(Exchange(design, path)) as exchange:
        for _, block in columns.blocks():
            column_aurocs(block, Clusters.of(labels, groups))
            exchange.add(block)
            nonzeros += len(block.rows)
        exchange.p_values(random, 10_000)
        exchange.largest(random, 1000)
assert design.kind == sys.argv[1] and nonzeros > 29e6
print(round(time.perf_counter() - begin, 1), "s", file=sys.stderr)
print(peak_memory_mb())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thirty_million_nonzeros_fit_into_half_a_gigabyte(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", LARGE, kind], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 512
