"""The verdict on an intervention, in words."""

from collections.abc import Mapping
from typing import Any

LEVEL = 0.05
WHAT = {
    "answers": ("answers", "nats a token", "prompts"),
    "texts": ("positive texts against negative ones", "nats a token", "texts"),
    "words": ("positive words against negative ones", "nats", "texts"),
}
"""Metric → what is moved, in which unit, and of what there are so many."""


def is_shown(row: Mapping[str, Any]) -> bool:
    """Whether a row of `effects` shows an effect, in the direction that is expected.

    Its interval leaves out 0, no more than 5 % of the controls do as much, and it is outside of what controls do. Of a
    row that was chosen, `p_chosen` is also at most 5 %.
    """
    among = _number(row.get("p_chosen"))
    return _is_shown_there(row) and (among is None or among <= LEVEL)


def _is_shown_there(row: Mapping[str, Any]) -> bool:
    """The same, of a row for itself."""
    effect, low, high = (_number(row[name]) for name in ("effect", "low", "high"))
    if low is None or high is None or effect is None or low <= 0 <= high:
        return False
    if row["expected"] and effect * row["expected"] < 0:
        return False
    p, below, above = (_number(row[name]) for name in ("p_value", "control_low", "control_high"))
    return p is not None and below is not None and above is not None and p <= LEVEL and not below <= effect <= above


def verdict(row: Mapping[str, Any], budget: float) -> str:
    """One line: the effect with its interval, what chance does, how many prompts go along, what it costs."""
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
        parts.append(f"{100 * share:.0f} % of {many}")
    cost = _number(row.get("delta_nll"))
    if cost is not None:
        over = "" if cost <= budget else f", over the budget of {spelled(budget)}"
        parts.append(f"costs {spelled(cost)} nats{over}" if cost > 0.005 else "costs nothing")
    among = _number(row.get("p_chosen"))
    if not shown and among is not None and _is_shown_there(row):
        parts.append(f"p = {spelled(among)} among all layers and methods that were tried")
    few = _number(row["n_controls"]) or 0
    if not shown and 0 < few < 1 / LEVEL - 1:
        parts.append(f"{few:.0f} controls are too few for p <= {LEVEL}")
    return "; ".join(parts)


def spelled(value: float | None, sign: bool = False) -> str:
    """A number as in a text: two digits after the point, no zero before it, and a minus sign that is one."""
    if value is None:
        return "unknown"
    text = f"{abs(value):.2f}"
    text = text[1:] if text.startswith("0.") else text
    text = "0" if float(text) == 0 else text
    if text == "0":
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def _number(value: Any) -> float | None:
    """None for what is missing or NaN."""
    return None if value is None or value != value else float(value)
