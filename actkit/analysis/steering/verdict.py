"""The choice of the layer and strength that are reported, and the verdict on them in words.

The layer and strength are chosen on the validation split, and reported once on the test split. A test split does not
correct for the choice among directions: at one of many layers, a meaningless direction is likely to do more than the
controls of that layer, on any texts. So the choice is compared with the best of each control over as many layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actkit.numerals import percent

LATE = 0.8
"""Layers past this share of the model are left out: an intervention there rewrites the output, not its causes."""


def choose(rows: Sequence[Mapping[str, Any]], n_layers: int) -> Mapping[str, Any] | None:
    """Choose the row to report, from one metric on the validation split; None where none keeps within the budget.

    The largest effect less its controls' wins, in the expected direction, at a cost within the budget and not in the
    last fifth of the layers. An earlier layer that is worse by no more than one standard error is preferred: the
    largest of several noisy numbers is partly noise. Strengths below zero count where there are no others.
    """
    real = _candidates(rows, n_layers)
    allowed = [row for row in real if row.get("within_budget", True)]
    if not allowed:
        return None
    best = max(allowed, key=_gain)
    error = 0.0 if np.isnan(best["error"]) else float(best["error"])
    near = [row for row in allowed if _gain(row) >= _gain(best) - error]
    earliest = min(row["layer"] for row in near)
    return max((row for row in near if row["layer"] == earliest), key=_gain)


def chosen_p_value(rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], n_layers: int) -> float:
    """Return the p-value of the chosen row on the test split; `rows` are of one metric. NaN without controls.

    It is (1 + controls that do as much at some layer that could have been chosen) / (1 + controls), at the chosen
    strength, times the number of methods. The first controls of all layers count as one control, and so on (Westfall &
    Young 1993). "As much" is in the expected direction, since nothing else would be shown.
    """
    tried = _candidates(rows, n_layers)
    layers = sorted({row["layer"] for row in tried})
    alike = [row for row in rows if row["split"] == "test" and row["strength"] == chosen["strength"]]
    own = next(row for row in alike if row["intervention_id"] == chosen["intervention_id"])
    expected = own["expected"]

    def size(row: Mapping[str, Any]) -> float:
        return float(row["effect"] * expected if expected else abs(row["effect"]))

    at = [[size(row) for row in alike if row["is_control"] and row["layer"] == layer] for layer in layers]
    n_controls = min(map(len, at))
    if not n_controls:
        return float("nan")
    largest = np.max([each[:n_controls] for each in at], axis=0)
    p = (1 + (largest >= size(own)).sum()) / (1 + n_controls)
    return float(min(p * len({row["source"] for row in tried}), 1.0))


def _candidates(rows: Sequence[Mapping[str, Any]], n_layers: int) -> list[Mapping[str, Any]]:
    """The rows to choose among, whatever they cost: of the validation split, not late, of a positive strength."""
    real = [row for row in rows if not row["is_control"] and row["split"] == "validation"]
    real = [row for row in real if row["layer"] < LATE * n_layers] or real
    return [row for row in real if row["strength"] > 0] or real


def _gain(row: Mapping[str, Any]) -> float:
    """The effect in the expected direction, less the mean of its controls; without controls, the effect alone."""
    value = row["effect"] if np.isnan(row["effect_minus_control"]) else row["effect_minus_control"]
    return float(value * (row["expected"] or 1))


LEVEL = 0.05
WHAT = {
    "answers": ("answers", "nats a token", "prompts"),
    "texts": ("positive texts against negative ones", "nats a token", "texts"),
    "words": ("positive words against negative ones", "nats", "texts"),
}
"""Metric → the thing that moves, its unit, and the noun of what a share is of."""


def is_shown(row: Mapping[str, Any]) -> bool:
    """Whether a row of `effects` shows an effect, in the expected direction.

    Its interval leaves out 0, its p-value is at most 5 %, and the effect is outside the controls' band. For a row that
    was chosen, `p_chosen` is also at most 5 %.
    """
    among = _number(row.get("p_chosen"))
    return _is_shown_there(row) and (among is None or among <= LEVEL)


def _is_shown_there(row: Mapping[str, Any]) -> bool:
    """The same without `p_chosen`, so for the row alone."""
    effect, low, high = (_number(row[name]) for name in ("effect", "low", "high"))
    if low is None or high is None or effect is None or low <= 0 <= high:
        return False
    if row["expected"] and effect * row["expected"] < 0:
        return False
    p, below, above = (_number(row[name]) for name in ("p_value", "control_low", "control_high"))
    return p is not None and below is not None and above is not None and p <= LEVEL and not below <= effect <= above


def verdict(row: Mapping[str, Any], budget: float) -> str:
    """Say in a line the effect with its interval, the band of controls, the share of prompts that follow, the cost."""
    what, unit, many = WHAT[row["metric"]]
    effect, low, high = _number(row["effect"]), _number(row["low"]), _number(row["high"])
    interval = f" ({spelled(low)} to {spelled(high)})" if low is not None and high is not None else ""
    moved = f"{spelled(effect, True)} {unit}{interval}"
    shown = is_shown(row)
    parts = [f"moves {what} by {moved}" if shown else f"not shown: {moved}"]
    below, above = _number(row["control_low"]), _number(row["control_high"])
    if below is None or above is None:
        parts.append("no controls")
    else:
        parts.append(f"chance {spelled(below)} to {spelled(above, True)}")
    share = _number(row["share_right"])
    if share is not None:
        parts.append(f"{percent(share)} of {many}")
    cost = _number(row.get("delta_nll"))
    if cost is not None:
        over = "" if cost <= budget else f", over the budget of {spelled(budget)}"
        parts.append(f"costs {spelled(cost)} nats{over}" if cost > 0.005 else "costs nothing")
    among = _number(row.get("p_chosen"))
    if not shown and among is not None and _is_shown_there(row):
        parts.append(f"p = {spelled(among)} among all layers and methods that were tried")
    few = _number(row["n_controls"]) or 0
    if not shown and 0 < few < 1 / LEVEL - 1:
        parts.append(f"{few:.0f} controls are too few for p ≤ {LEVEL}")
    return "; ".join(parts)


def spelled(value: float | None, sign: bool = False) -> str:
    """Write a number as in a text: two digits after the point, no zero before it, and a true minus sign."""
    if value is None:
        return "unknown"
    text = f"{abs(value):.2f}"
    text = text[1:] if text.startswith("0.") else text
    text = "0" if float(text) == 0 else text
    if text == "0":
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def _number(value: Any) -> float | None:
    """Return None for a value that is missing or NaN."""
    return None if value is None or value != value else float(value)
