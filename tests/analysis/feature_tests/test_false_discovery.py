"""Benjamini-Hochberg's q is as defined, and the whole chain from columns to q finds what is there and little else."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import false_discovery_control, norm

from actkit.analysis.auroc import column_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.columns import Columns, Floats
from actkit.analysis.feature_tests.ranking import benjamini_hochberg
from actkit.analysis.permutation.design import design_of
from tests.analysis.permutation.in_memory import p_values

Q = 0.05


def test_q_is_the_least_rate_at_which_the_step_up_procedure_rejects() -> None:
    random = np.random.default_rng(1)
    for p in (random.random(200) ** 3, np.array([0.3]), np.array([]), np.repeat([0.01, 0.5, 1.0, 0.0], 5)):
        rates = len(p) * np.sort(p) / np.arange(1, len(p) + 1)
        expected = [min([1.0, *rates[np.sort(p) >= each]]) for each in p]
        np.testing.assert_allclose(benjamini_hochberg(p), expected, rtol=1e-12)


def test_nan_stays_nan_and_is_no_test() -> None:
    p = np.array([0.01, np.nan, 0.02, np.nan, 0.5])
    found = benjamini_hochberg(p)
    assert np.isnan(found[[1, 3]]).all()
    np.testing.assert_allclose(found[[0, 2, 4]], false_discovery_control(p[[0, 2, 4]]))
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, np.inf])
def test_what_is_no_p_value_is_an_error(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg(np.array([0.5, p]))


def area(shift: float, threshold: float) -> float:
    """AUROC of max(0, z - threshold), z ~ N(shift, 1) in positive texts and N(0, 1) in negative ones."""
    z = np.linspace(threshold, threshold + 12, 4001)
    above = trapezoid(norm.pdf(z - shift) * norm.cdf(z), z)
    return float(above + 0.5 * norm.cdf(threshold - shift) * norm.cdf(threshold))


def shift_for(wanted: float, threshold: float) -> float:
    low, high = 0.0, 8.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle, threshold) < wanted else (low, middle)
    return (low + high) / 2


def stacked(dense: Floats) -> Columns:
    rows, ids = np.nonzero(dense)
    return Columns.of((rows, ids, dense[rows, ids]), *dense.shape)


class World:
    """Texts with features: those of `null` know nothing of the label, `planted` have an AUROC of 0.65.

    A feature is max(0, z - threshold), z normal; null features are active in log-uniform 0.2 % to 50 % of the texts, in
    some more often than in others (a fifth of z's variance is the text's), planted ones in 30 to 50 % of the negative
    texts.
    """

    def __init__(self, seed: int, n: int, d: int, planted: int) -> None:
        self.random = np.random.default_rng(seed)
        self.n, self.planted = n, planted
        self.thresholds = norm.isf(self.random.uniform(0.3, 0.5, planted))
        self.shifts = np.array([shift_for(0.65, threshold) for threshold in self.thresholds])
        rates = np.exp(self.random.uniform(np.log(0.002), np.log(0.5), d - planted))
        z = np.sqrt(0.8) * self.random.normal(size=(n, d - planted)) + np.sqrt(0.2) * self.random.normal(size=(n, 1))
        self.null = stacked(np.maximum(z - norm.isf(rates), 0))

    def labels(self) -> np.ndarray:
        return self.random.permutation(self.n) < self.n // 2

    def discoveries(self, labels: np.ndarray, mixed: bool) -> np.ndarray:
        """[features] which are found; the planted ones last, made for these labels, if `mixed`."""
        design = design_of(labels, np.arange(self.n))
        p = p_values(self.null, labels, design, self.random).p
        if mixed:
            z = self.random.normal(size=(self.n, self.planted)) + self.shifts * labels[:, None]
            planted = stacked(np.maximum(z - self.thresholds, 0))
            p = np.concatenate([p, p_values(planted, labels, design, self.random).p])
        return np.nan_to_num(benjamini_hochberg(p), nan=1.0) <= Q


def rates(world: World, runs: int) -> tuple[float, float, float, float]:
    """Power, mean false-discovery proportion and its standard error in mixed runs, share of null runs with any."""
    power, wrong, any_at_all = [], [], []
    for _ in range(runs):
        labels = world.labels()  # labels know nothing of the null features, so these may stay
        found = world.discoveries(labels, mixed=True)
        power.append(found[-world.planted :].mean())
        wrong.append(found[: -world.planted].sum() / max(found.sum(), 1))
        any_at_all.append(world.discoveries(world.labels(), mixed=False).any())
    return float(np.mean(power)), float(np.mean(wrong)), float(np.std(wrong) / runs**0.5), float(np.mean(any_at_all))


def test_the_planted_features_have_the_auroc_they_are_said_to_have() -> None:
    random = np.random.default_rng(2)
    labels = np.arange(400_000) % 2 == 0
    z = random.normal(size=len(labels)) + shift_for(0.65, 0.4) * labels
    found = column_aurocs(stacked(np.maximum(z - 0.4, 0)[:, None]), Clusters.of(labels, None))
    assert found.value[0] == pytest.approx(0.65, abs=0.003)


@pytest.mark.slow
def test_planted_features_are_found_and_few_others() -> None:
    power, wrong, error, any_at_all = rates(World(3, n=700, d=512, planted=20), 15)
    assert power >= 0.9
    assert wrong <= Q + 2 * error
    assert any_at_all <= 0.2  # of 15 runs, 0.05 or less are expected


@pytest.mark.slow
@pytest.mark.parametrize("n", [2000, 1400])
def test_power_and_false_discoveries_at_the_size_of_a_study(
    n: int, record_property: Callable[[str, object], None]
) -> None:
    power, wrong, error, any_at_all = rates(World(4, n=n, d=4096, planted=64), 200)
    for name, value in (("power", power), ("wrong", wrong), ("error", error), ("any_at_all", any_at_all)):
        record_property(name, value)
    assert power >= 0.9
    assert wrong <= Q + 2 * error
    assert any_at_all <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
