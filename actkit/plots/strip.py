"""Draws sequences as figures: tokens in lines, each coloured by its number. Pages draw theirs in HTML."""

import itertools
from collections.abc import Sequence

import plotly.graph_objects as go

from actkit.plots.style import AMOUNT, LIGHT, SIGNED_AMOUNT, colour_bar, figure, label

A_LINE = 10
"""Tokens in a line."""
LONGEST = 8
"""Characters of a token's cell, which is some 50 pixels wide in a narrow window."""
MOST = 240
"""Tokens of a strip."""


def strip(
    rows: Sequence[tuple[str, Sequence[str], Sequence[float | None]]],
    unit: str,
    signed: bool,
    top: float | None = None,
    aligned: bool = True,
) -> go.Figure:
    """Draw named rows of tokens with a number each, `A_LINE` tokens a line.

    `aligned` rows alternate line by line. Without it each row stands whole below the one before.
    """
    names, texts, values = [], [], []
    for group in [rows] if aligned else [[row] for row in rows]:
        most = min(max((len(tokens) for _, tokens, _ in group), default=0), MOST)
        for first, (name, tokens, numbers) in itertools.product(range(0, most, A_LINE), group):
            part = tokens[first : first + A_LINE]
            if not part:
                continue
            last = first + len(part) - 1
            names.append(f"{name} {first}–{last}" if name else f"{first}–{last}")
            pad = A_LINE - len(part)
            texts.append([*(label(token.replace(" ", "·"), LONGEST) for token in part), *[""] * pad])
            values.append([*numbers[first : first + A_LINE], *[None] * pad])
    shown = [abs(value) for line in values for value in line if value is not None]
    limit = top or max(shown, default=1.0) or 1.0
    heat = go.Heatmap(
        z=values,
        y=list(range(len(names))),
        text=texts,
        texttemplate="%{text}",
        textfont={"size": 11, "color": LIGHT["font"]},
        xgap=2,
        ygap=2,
        hovertemplate="%{text}: %{z:.3g}<extra></extra>",
        colorbar=colour_bar(unit),
        colorscale=SIGNED_AMOUNT if signed else AMOUNT,
        zmin=-limit if signed else 0,
        zmax=limit,
    )
    made = figure(heat, height=max(48 + 26 * len(names), 150))
    made.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False, ticks="", showline=False
    )
    made.update_layout(margin_b=16)
    made.update_xaxes(showticklabels=False, showgrid=False, ticks="", showline=False)
    return made
