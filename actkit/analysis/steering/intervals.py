"""Differences of means with intervals that are clustered, since prompts of one stem are no independent samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from actkit.analysis.columns import Floats, Ints

COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """Estimates [k] with their intervals."""

    value: Floats
    low: Floats
    high: Floats
    error: Floats
    """Standard error; NaN with fewer than two clusters."""


def contrast(values: Floats, side: npt.NDArray[np.int64], clusters: Ints) -> Estimate:
    """Mean of side 1 less mean of side -1, of `values` [m, k]; with one side only, that side's mean, or minus it.

    The error is the cluster-robust one: of each cluster [m] the summed influence of its rows, with G / (G - 1) for G
    clusters, and Student's t with G - 1 degrees of freedom. Where every prompt has one row on each side, this is the
    interval of the mean of the clusters' differences.
    """
    values = np.asarray(values, dtype=np.float64)
    value, influence = np.zeros(values.shape[1]), np.zeros_like(values)
    for sign in (1, -1):
        rows = side == sign
        if rows.any():
            mean = values[rows].mean(0)
            value += sign * mean
            influence[rows] = sign * (values[rows] - mean) / rows.sum()
    _, of_row = np.unique(clusters, return_inverse=True)
    n = int(of_row.max(initial=-1)) + 1
    if n < 2:
        unknown = np.full(values.shape[1], np.nan)
        return Estimate(value, unknown, unknown, unknown)
    summed = np.zeros((n, values.shape[1]))
    np.add.at(summed, of_row, influence)
    error = np.sqrt(n / (n - 1) * (summed**2).sum(0))
    reach = stats.t.ppf(0.5 + COVERAGE / 2, n - 1) * error
    return Estimate(value, value - reach, value + reach, error)


def band(controls: Floats) -> tuple[float, float]:
    """The middle 95 % of control effects [r]: of fewer than 40, their smallest and largest."""
    if not len(controls):
        return np.nan, np.nan
    tail = (1 - COVERAGE) / 2
    low = np.quantile(controls, tail, method="lower")
    return float(low), float(np.quantile(controls, 1 - tail, method="higher"))


def p_value(effect: float, controls: Floats) -> float:
    """(1 + how many of the controls [r] are as far from zero) / (1 + r)."""
    return float((1 + (np.abs(controls) >= abs(effect)).sum()) / (1 + len(controls)))


def slopes(values: Floats, strengths: Floats) -> Floats:
    """[m] each row's least-squares slope of `values` [m, k] by strength [k], nothing added at strength 0 included."""
    x = np.append(strengths, 0.0)
    y = np.concatenate([values, np.zeros((len(values), 1))], axis=1)
    x = x - x.mean()
    found: Floats = (y - y.mean(1, keepdims=True)) @ x / (x @ x)
    return found
