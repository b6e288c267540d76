"""Effects, intervals, bands and slopes against numbers worked out by hand or by another formula."""

import numpy as np
import pytest
from scipy import stats

from actkit.analysis.steering.effects import band, contrast, p_value, slopes


def test_paired_differences_have_the_interval_of_their_mean() -> None:
    """Each prompt its own cluster, one row a side: the one-sample t interval of the differences."""
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(0.5, 1, (9, 2)), rng.normal(0, 1, (9, 2))
    values, side = np.concatenate([positive, negative]), np.repeat([1, -1], 9)
    found = contrast(values, side, np.tile(np.arange(9), 2))
    for column in range(2):
        difference = positive[:, column] - negative[:, column]
        low, high = stats.t.interval(0.95, 8, difference.mean(), stats.sem(difference))
        assert found.value[column] == pytest.approx(difference.mean())
        assert (found.low[column], found.high[column]) == pytest.approx((low, high))


def test_prompts_of_one_stem_count_as_one() -> None:
    """Twice the same four prompts say no more than four: 2 · n rows, the same interval."""
    values, side, stems = np.array([[1.0], [2.0], [3.0], [6.0]]), np.ones(4, dtype=np.int64), np.arange(4)
    once = contrast(values, side, stems)
    twice = contrast(np.tile(values, (2, 1)), np.ones(8, dtype=np.int64), np.tile(stems, 2))
    assert (twice.low[0], twice.high[0]) == pytest.approx((once.low[0], once.high[0]))
    assert once.value[0] == 3.0 and once.error[0] == pytest.approx(np.sqrt(14 / 3) / 2)


def test_two_sides_of_different_texts() -> None:
    """Means 2 and 5; influences (∓1/2, ±1/2) and (-1/3, 0, 1/3); error² = 5/4 · (1/2 + 2/9)."""
    values = np.array([[1.0], [3.0], [4.0], [5.0], [6.0]])
    found = contrast(values, np.array([1, 1, -1, -1, -1]), np.arange(5))
    assert found.value[0] == -3.0
    assert found.error[0] == pytest.approx(np.sqrt(5 / 4 * (1 / 2 + 2 / 9)))


def test_one_cluster_has_no_interval() -> None:
    found = contrast(np.array([[1.0], [2.0]]), np.array([1, 1]), np.array([7, 7]))
    assert found.value[0] == 1.5 and np.isnan(found.low[0]) and np.isnan(found.error[0])


def test_chance() -> None:
    few = np.array([0.3, -0.2, 0.1])
    assert band(few) == (-0.2, 0.3)
    assert band(np.arange(-50, 51) / 100) == (-0.48, 0.48)
    assert np.isnan(band(np.zeros(0))).all()
    assert p_value(-0.2, few) == 3 / 4 and p_value(0.4, few) == 1 / 4 and p_value(0.0, few) == 1.0


def test_slopes_go_through_what_is_measured_and_zero() -> None:
    strengths = np.array([-2.0, 1.0, 2.0])
    values = np.array([[-1.0, 0.5, 1.0], [4.0, -2.0, -4.0], [0.0, 3.0, 0.0]])
    expected = [np.polyfit(np.append(strengths, 0), np.append(row, 0), 1)[0] for row in values]
    assert slopes(values, strengths) == pytest.approx(expected)
    assert slopes(values, strengths)[:2] == pytest.approx([0.5, -2.0])


@pytest.mark.slow
def test_intervals_cover_and_false_positives_are_rare() -> None:
    """2,000 simulated runs of 16 stems with a shared part of three prompts each, 20 controls and no effect."""
    from actkit.analysis.steering.verdict import is_shown

    rng = np.random.default_rng(0)
    covered = shown = 0
    stems = np.repeat(np.arange(16), 3)
    side = np.ones(48, dtype=np.int64)
    for _ in range(2000):
        own = rng.normal(0, 0.1, 21)  # a random direction does something, of either sign
        values = own + rng.normal(0, 0.3, (16, 21))[stems] + rng.standard_t(5, (48, 21)) * 0.2
        found = contrast(values, side, stems)
        covered += bool(found.low[0] <= own[0] <= found.high[0])
        controls = found.value[1:]
        low, high = band(controls)
        row = {"effect": found.value[0], "low": found.low[0], "high": found.high[0], "expected": 0}
        row |= {"p_value": p_value(found.value[0], controls), "control_low": low, "control_high": high}
        shown += is_shown(row)
    assert 0.935 < covered / 2000 < 0.965
    assert shown / 2000 <= 0.05
