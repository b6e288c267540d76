"""Two runs side by side: the same axes where they mean the same, and no end of an interval outside of them."""

import json
from typing import Any

import plotly.graph_objects as go

from actkit.plots.style import figure
from actkit.report.two_runs import share_axes


def drawn(x: list[float], reach: float, title: str) -> Any:
    """A figure of points with intervals along x."""
    made = figure(go.Scatter(x=x, y=[0.0, 1.0], error_x={"type": "data", "array": [reach] * 2}))
    made.update_xaxes(title=title)
    made.update_yaxes(title="layer")
    return json.loads(made.to_json())


def test_axes_are_shared_where_they_mean_the_same_and_hold_the_intervals() -> None:
    first, second = drawn([0.4, 0.6], 0.3, "AUROC"), drawn([0.5, 0.55], 0.01, "AUROC")
    share_axes(first, second)
    low, high = first["layout"]["xaxis"]["range"]
    assert second["layout"]["xaxis"]["range"] == [low, high]
    assert low < 0.1 and high > 0.9
    # Projections at two layers have scales of their own: on one axis both would be a heap in a corner.
    first, second = drawn([-14, -9], 1, "projection at layer 1"), drawn([26, 30], 1, "projection at layer 0")
    share_axes(first, second)
    assert "range" not in first["layout"]["xaxis"] and "range" not in second["layout"]["xaxis"]
    assert first["layout"]["yaxis"]["range"] == second["layout"]["yaxis"]["range"]
