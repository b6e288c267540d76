"""The parts of figures: lines, bands, points, bars and maps. Lines and points differ by more than colour."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from actkit.plots.style import BLUE, COLOURS, DASHES, DIVERGING, GREY, HEAT, MARKS, colour_bar

ALONE = 0.25
"""Half the width of a band at a single x, such as one layer."""
DOTTED = {"color": GREY, "dash": "dot", "width": 1}
"""A line at no effect or at chance."""
DIAGONAL = {"color": GREY, "dash": "dot"}
CHANCE = "rgba(138,138,138,{})"
"""Grey of some opacity, for areas that chance covers."""


def band(x: Iterable[Any], low: Iterable[Any], high: Iterable[Any], name: str, colour: str) -> list[Any]:
    """An area between two lines: an interval, or the range of chance. At a single x it is a bar."""
    x, low, high = list(x), list(low), list(high)
    if len(x) == 1 and isinstance(x[0], int | float):
        x, low, high = [x[0] - ALONE, x[0] + ALONE], 2 * low, 2 * high
    # Edges, since two bands over one another give a third colour.
    line = {"width": 1, "color": _faded(colour, 0.6)}
    shared = {"mode": "lines", "line": line, "legendgroup": name, "hoverinfo": "skip"}
    return [
        go.Scatter(x=x, y=low, showlegend=False, **shared),
        go.Scatter(x=x, y=high, fill="tonexty", fillcolor=_faded(colour, 0.24), name=name, **shared),
    ]


def _faded(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def line(x: Iterable[Any], y: Iterable[Any], name: str, number: int, **more: Any) -> go.Scatter:
    """A line with marks, told apart by colour, dash and mark."""
    colour = COLOURS[number % len(COLOURS)]
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": DASHES[number % len(DASHES)], "width": 2},
        marker={"symbol": MARKS[number % len(MARKS)], "size": 7, "color": colour},
        **more,
    )


def points(x: Any, y: Any, hover: str, ids: Sequence[Any] | None, marker: dict[str, Any], **more: Any) -> go.Scatter:
    """Points without a line. A click opens a point's entry of `ids`, which `hover` calls `customdata`."""
    marker = {"color": BLUE, **marker}
    return go.Scatter(x=x, y=y, mode="markers", marker=marker, customdata=ids, hovertemplate=hover, **more)


def diagonal(ends: Sequence[float]) -> go.Scatter:
    """The dotted line on which both axes have the same number."""
    return go.Scatter(x=ends, y=ends, mode="lines", line=DIAGONAL, name="equal", hoverinfo="skip")


def error_bars(values: Sequence[Any], lows: Sequence[Any], highs: Sequence[Any], **more: Any) -> dict[str, Any]:
    """`error_x` or `error_y` of values with intervals; no bar at an end that is None."""
    at, low, high = (np.array(ends, dtype=np.float64) for ends in (values, lows, highs))
    bars = {"array": high - at, "arrayminus": at - low}
    return {"type": "data", "symmetric": False, **bars, "thickness": 1.3, "width": 3, **more}


def feature_bars(ids: Sequence[int], values: Sequence[float], **more: Any) -> go.Bar:
    """A horizontal bar a feature."""
    names, hover = [str(number) for number in ids], "feature %{customdata}: %{x:.3g}<extra></extra>"
    return go.Bar(
        x=values, y=names, orientation="h", marker_color=BLUE, customdata=list(ids), hovertemplate=hover, **more
    )


def heat_map(z: Any, x: Sequence[Any], y: Sequence[Any], hover: str, bar: dict[str, Any], **more: Any) -> go.Heatmap:
    """Amounts [y, x] as colours from dark to light, explained by the colour bar `bar`."""
    colours = {"colorscale": HEAT, **more}
    return go.Heatmap(z=z, x=x, y=y, hovertemplate=f"{hover}<extra></extra>", colorbar=bar, **colours)


def cosine_map(unit: npt.NDArray[Any], names: Sequence[str]) -> go.Heatmap:
    """Map the cosine of every two of the named unit vectors [n, d_model]."""
    signed = {"colorscale": DIVERGING, "zmin": -1, "zmax": 1}
    return heat_map(unit @ unit.T, names, names, "%{x} · %{y}: %{z:.3f}", colour_bar("cosine"), **signed)
