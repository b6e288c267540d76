"""The table `effects`: of every intervention its effect, interval, controls, slope and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from actkit.analysis.columns import Floats
from actkit.analysis.steering.intervals import Estimate, band, contrast, p_value, slopes
from actkit.analysis.steering.samples import COST, Changes, Measured


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
    """What has the same in all strengths of one direction: they make a slope."""


def effect_rows(measured: Measured, made: Sequence[Made], budget: float) -> list[dict[str, Any]]:
    """One row an intervention, metric and split; `made` are all but the unsteered one, by id from 1."""
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
    ]  # all that these texts were run under
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
    """Intervention → slope of its direction over all strengths, with interval; how many prompts go the other way."""
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
