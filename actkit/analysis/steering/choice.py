"""Which layer and strength: chosen on the validation split, to be reported once on the test split."""

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
    real = [row for row in rows if not row["is_control"] and row["split"] == "validation"]
    real = [row for row in real if row["layer"] < LATE * n_layers] or real
    if any(row["strength"] > 0 for row in real):
        real = [row for row in real if row["strength"] > 0]
    allowed = [row for row in real if row.get("within_budget", True)]
    if not allowed:
        return None
    best = max(allowed, key=_gain)
    error = 0.0 if np.isnan(best["error"]) else float(best["error"])
    near = [row for row in allowed if _gain(row) >= _gain(best) - error]
    earliest = min(row["layer"] for row in near)
    return max((row for row in near if row["layer"] == earliest), key=_gain)


def _gain(row: Mapping[str, Any]) -> float:
    """The effect in the direction that is expected, less what the controls do; without controls the effect."""
    value = row["effect"] if np.isnan(row["effect_minus_control"]) else row["effect_minus_control"]
    return float(value * (row["expected"] or 1))
