"""Which layer and strength: chosen on the validation split, to be reported once on the test split.

Test texts do not undo a choice among directions: at one of many layers a direction of nothing is likely to do more than
controls do there, on any texts. So what is chosen is compared with controls that had as many layers to do it at.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LATE = 0.8
"""Layers behind this share of the model are left out: what acts there rewrites the output, not what leads to it."""


def choose(rows: Sequence[Mapping[str, Any]], n_layers: int) -> Mapping[str, Any] | None:
    """The row, of one metric on the validation split, that is reported; None where none keeps within the budget.

    The largest effect less its controls' wins, in the direction that is expected, at a cost within the budget and not
    in the last fifth of the layers. An earlier layer that is worse by no more than one standard error is preferred: the
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
    """The p-value of what was chosen, on the test split; `rows` are of one metric. NaN without controls.

    (1 + controls that do as much at some layer that could have been chosen) / (1 + controls), at the chosen strength:
    the first controls of all layers are one, and so on (Westfall & Young 1993). "As much" is in the direction that is
    expected, since nothing else would be shown. Times the number of methods.
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
    """What may be chosen, whatever it costs: the validation split's rows, not late and of a positive strength."""
    real = [row for row in rows if not row["is_control"] and row["split"] == "validation"]
    real = [row for row in real if row["layer"] < LATE * n_layers] or real
    return [row for row in real if row["strength"] > 0] or real


def _gain(row: Mapping[str, Any]) -> float:
    """The effect in the direction that is expected, less what the controls do; without controls the effect."""
    value = row["effect"] if np.isnan(row["effect_minus_control"]) else row["effect_minus_control"]
    return float(value * (row["expected"] or 1))
