"""The table `effects`: the effect of every intervention, with interval, controls, slope and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from actkit.analysis.columns import Floats, Ints
from actkit.analysis.steering.samples import COST, Changes, Measured

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
    """Estimate the mean of side 1 less that of side -1, of `values` [m, k]; with one side only, its mean or minus that.

    The error is cluster-robust: it sums the influence of each cluster's rows (`clusters` [m]), with G / (G - 1) for G
    clusters. The interval takes Student's t with G - 1 degrees of freedom. Where every prompt has one row on each side,
    this is the interval of the mean of the clusters' differences.
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
    """Return (1 + number of controls [r] that are as far from zero) / (1 + r)."""
    return float((1 + (np.abs(controls) >= abs(effect)).sum()) / (1 + len(controls)))


def slopes(values: Floats, strengths: Floats) -> Floats:
    """[m] each row's least-squares slope of `values` [m, k] by strength [k], with 0 at strength 0 included."""
    x = np.append(strengths, 0.0)
    y = np.concatenate([values, np.zeros((len(values), 1))], axis=1)
    x = x - x.mean()
    found: Floats = (y - y.mean(1, keepdims=True)) @ x / (x @ x)
    return found


@dataclass(frozen=True)
class Made:
    """One intervention, as far as statistics need to know it."""

    intervention_id: int
    do: str
    layer: int
    source: str
    strength: float
    is_control: bool
    control_group: int
    expected: int
    family: tuple[Any, ...]
    """Columns that all strengths of one direction have in common; together they make a slope."""


def effect_rows(measured: Measured, made: Sequence[Made], budget: float) -> list[dict[str, Any]]:
    """Make a row an intervention, metric and split; `made` are all but the unsteered one, by id from 1."""
    cost = next((each for each in measured.samples if each.metric == COST), None)
    of_cost = None if cost is None else contrast(cost.change, cost.side, cost.record_ids)
    rows = []
    for samples in measured.samples:
        if samples.metric != COST:
            rows += _rows(samples, made, of_cost, measured.kl, budget)
    return rows


def _rows(
    samples: Changes, made: Sequence[Made], cost: Estimate | None, kl: Floats, budget: float
) -> list[dict[str, Any]]:
    estimate = contrast(samples.change, samples.side, samples.stems)
    records, changes = samples.of_records()
    positive, negative = samples.of_side(1), samples.of_side(-1)
    controls: dict[int, list[int]] = {}
    made = [
        action for action in made if not np.isnan(estimate.value[action.intervention_id])
    ]  # the interventions under which these texts were run
    for action in made:
        controls.setdefault(action.control_group, []).extend([action.intervention_id] if action.is_control else [])
    by_strength = _slopes(samples, made)
    rows = []
    for action in made:
        at = action.intervention_id
        own = estimate.value[[] if action.is_control else controls[action.control_group]]
        low, high = band(own)
        right = np.sign(changes[:, at]) == action.expected
        row = {
            "intervention_id": at,
            "do": action.do,
            "layer": action.layer,
            "source": action.source,
            "strength": action.strength,
            "is_control": action.is_control,
            "metric": samples.metric,
            "split": samples.split,
            "chosen": False,
            "n": len(records),
            "n_stems": len(np.unique(samples.stems)),
            "effect": estimate.value[at],
            "low": estimate.low[at],
            "high": estimate.high[at],
            "error": estimate.error[at],
            "effect_minus_control": estimate.value[at] - own.mean() if len(own) else np.nan,
            "control_low": low,
            "control_high": high,
            "n_controls": len(own),
            "p_value": p_value(estimate.value[at], own) if len(own) else np.nan,
            "q_value": np.nan,
            "delta_positive": positive[at],
            "delta_negative": negative[at],
            "share_right": float(right.mean()) if action.expected else np.nan,
            "kl": kl[at],
            **by_strength.get(at, {}),
            **_cost(cost, at, budget),
            "expected": action.expected,
        }
        rows.append(row)
    tested = [row for row in rows if not np.isnan(row["p_value"])]
    if tested:
        for row, q in zip(tested, stats.false_discovery_control([row["p_value"] for row in tested]), strict=True):
            row["q_value"] = float(q)
    return rows


def _slopes(samples: Changes, made: Sequence[Made]) -> dict[int, Mapping[str, float]]:
    """Intervention → slope of its direction over all strengths, with interval; share of prompts going the other way."""
    families: dict[tuple[Any, ...], list[Made]] = {}
    for action in made:
        if not action.is_control:
            families.setdefault(action.family, []).append(action)
    found: dict[int, Mapping[str, float]] = {}
    _, of_record = np.unique(samples.record_ids, return_inverse=True)
    for members in families.values():
        strengths = np.array([member.strength for member in members])
        if len(set(strengths.tolist())) < 2:
            continue
        each = slopes(samples.change[:, [member.intervention_id for member in members]], strengths)
        estimate = contrast(each[:, None], samples.side, samples.stems)
        of_records = np.zeros(int(of_record.max()) + 1)
        np.add.at(of_records, of_record, samples.side * each)
        expected = int(np.sign(members[0].expected * members[0].strength)) or 1
        row = {
            "slope": float(estimate.value[0]),
            "slope_low": float(estimate.low[0]),
            "slope_high": float(estimate.high[0]),
            "anti_steerable": float((of_records * expected < 0).mean()),
        }
        found |= {member.intervention_id: row for member in members}
    return found


def _cost(cost: Estimate | None, at: int, budget: float) -> dict[str, Any]:
    if cost is None or np.isnan(cost.value[at]):
        return {}
    value = float(cost.value[at])
    ends = {"delta_nll_low": cost.low[at], "delta_nll_high": cost.high[at]}
    return {"delta_nll": value, **ends, "within_budget": value <= budget}
