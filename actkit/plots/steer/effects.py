"""The effects of interventions as pictures read them, and what is drawn of a row in each."""

from collections.abc import Sequence
from typing import Any

from actkit.plots.picture import Source, needs
from actkit.plots.style import GREY
from actkit.plots.traces import band, error_bars

EFFECTS = "SELECT {} FROM 'RUN/effects/*.parquet' WHERE NOT is_control AND split = '{}' AND metric = '{}' ORDER BY ALL"


def effects_of(run: Source) -> tuple[list[dict[str, Any]], str, str]:
    """Rows of interventions that are no controls, in one split and metric: the test texts where there are any.

    Raises LackingError.
    """
    needs(run, "effects")
    rows = [row for row in run.table("effects").to_pylist() if not row["is_control"]]
    metrics = {row["metric"] for row in rows}
    metric = next(name for name in ("answers", "words", "texts") if name in metrics)
    split = "test" if any(row["split"] == "test" for row in rows) else "validation"
    return [row for row in rows if row["split"] == split and row["metric"] == metric], split, metric


def bars_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The intervals of effects."""
    return error_bars(*([row[end] for row in rows] for end in ("effect", "low", "high")))


def controls(x: Sequence[float], rows: Sequence[dict[str, Any]]) -> list[Any]:
    """The band of the controls of each row."""
    low, high = ([row[end] for row in rows] for end in ("control_low", "control_high"))
    return band(x, low, high, "controls: 95 %", GREY)


def unit_of(metric: str) -> str:
    """The title of an axis of effects."""
    return "effect, nats" if metric == "words" else "effect, nats a token"
