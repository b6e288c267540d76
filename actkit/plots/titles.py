"""Titles of figures: clear of the axes' labels on a page, and within the figure in a file of its own."""

import plotly.graph_objects as go

from actkit.plots.style import HEIGHT, WIDTH, label, wrapped

SMALL = 12
"""Pixels of the sentence under a title in a file."""


def titles_apart(made: go.Figure) -> go.Figure:
    """The figure with its axes' titles clear of the labels, once it has them; in place."""
    made.update_xaxes(title_standoff=8)
    made.update_yaxes(title_standoff=10)
    return made


def titled(made: go.Figure, title: str, says: str, width: int = WIDTH) -> go.Figure:
    """The figure with its title and sentence in it, for a file of its own; in place."""
    lines = wrapped(says, 118)
    text = f"<b>{label(title, 120)}</b>" + "".join(
        f"<br><span style='font-size:{SMALL}px'>{label(line, 140)}</span>" for line in lines
    )
    more = 56 + 22 * len(lines) + 20 * _legend_lines(made, width)
    height = (made.layout.height or HEIGHT) + more
    made.update_layout(
        title={"text": text, "x": 0.01, "xanchor": "left", "y": 1 - 26 / height, "yanchor": "top", "yref": "container"},
        margin_t=(made.layout.margin.t or 0) + more,
        width=width,
        height=height,
    )
    return made


def _legend_lines(made: go.Figure, width: int) -> int:
    """Lines that the legend takes, about."""
    names = [trace.name for trace in made.data if trace.name and trace.showlegend is not False]
    return -(-sum(50 + 7 * len(name) for name in names) // (width - 94)) if len(names) > 1 else 0
