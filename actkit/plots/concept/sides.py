"""Both sides of contrast pairs along a direction: apart, against length, and pair by pair."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from actkit.analysis.length import spearman
from actkit.numerals import percent, signed
from actkit.plots.concept.projected import chosen, interval, projected
from actkit.plots.picture import Drawn, Pick, Source, columns_of
from actkit.plots.style import BLUE, COLOURS, MARKS, MAX_POINTS, ORANGE, figure, label, wholes
from actkit.plots.traces import diagonal, points

WARN = 0.5
"""Spearman correlation with length above which a direction may be one of length."""


def projections(run: Source, pick: Pick) -> Drawn:
    """Histograms of both sides' projections."""
    of = projected(run, pick)
    both = np.concatenate([of.positive, of.negative])
    edges = np.linspace(both.min(), both.max() or 1, 1 + int(np.clip(2 * len(both) ** 0.5, 8, 40)))
    bins = {"start": float(edges[0]), "end": float(edges[-1]) + 1e-9, "size": float(edges[1] - edges[0]) or 1.0}
    made = figure()
    for values, name, colour in ((of.positive, "positive", BLUE), (of.negative, "negative", ORANGE)):
        made.add_trace(
            go.Histogram(
                x=values,
                name=name,
                marker={"color": colour, "pattern": {"shape": "" if name == "positive" else "/"}},
                opacity=0.65,
                xbins=bins,
            )
        )
    made.update_layout(barmode="overlay")
    made.update_xaxes(title=f"projection on {label(of.method)} at layer {of.layer}")
    made.update_yaxes(title="texts")
    above = _auroc(of.positive, of.negative)
    row = chosen(run, pick)
    known = row["layer"] == of.layer and of.held_out and row["auroc_heldout"] is not None
    return Drawn(
        made,
        f"Both sides along the direction, at layer {of.layer}",
        f"{of.which}; a positive text projects higher than a negative one with chance {interval(row) if known else f'{above:.3f}'}.",
        f"SELECT direction FROM 'RUN/directions/*.parquet' WHERE layer = {of.layer} AND method = '{of.method}'\n"
        "-- projected: the activations of the same layer, times it",
    )


def length(run: Source, pick: Pick) -> Drawn:
    """Projection against the number of tokens."""
    of = projected(run, pick)
    made = figure()
    for number, (values, name) in enumerate(((of.positive, "positive"), (of.negative, "negative"))):
        marker = {"color": COLOURS[number], "symbol": MARKS[number], "size": 7, "opacity": 0.9}
        hover = "pair %{customdata}: %{x} tokens, %{y:.3g}<extra>" + name + "</extra>"
        tokens, ids = of.tokens[number][:MAX_POINTS], of.records[:MAX_POINTS].tolist()
        made.add_trace(points(tokens, values[:MAX_POINTS], hover, ids, marker, name=name))
    made.update_xaxes(title="tokens of the text", **wholes(int(n) for side in of.tokens for n in side))
    made.update_yaxes(title=f"projection on {label(of.method)} at layer {of.layer}")
    r = float(np.nan_to_num(spearman(np.concatenate([of.positive, of.negative]), np.concatenate(of.tokens))))
    row = chosen(run, pick)
    adjusted = row.get("auroc_length_adjusted")
    said = f" Within texts of about equal length the AUROC is {adjusted:.3f}." if adjusted is not None else ""
    warning = " It may be a direction of length." if abs(r) > WARN else ""
    extra = (
        ", spearman_length, auroc_length_adjusted" if "spearman_length" in columns_of(run, "direction_scores") else ""
    )
    return Drawn(
        made,
        f"Does the direction follow length? Layer {of.layer}",
        f"{of.which}; Spearman correlation of projection and number of tokens {signed(r, '+.2f')}.{warning}{said} One point a text, no interval.",
        f"SELECT layer, method, auroc_heldout{extra} FROM 'RUN/direction_scores/*.parquet' WHERE layer = {of.layer}",
        opens="record",
    )


def pairs(run: Source, pick: Pick) -> Drawn:
    """Each pair as a point: its negative text against its positive one."""
    of = projected(run, pick)
    ends = [float(min(of.positive.min(), of.negative.min())), float(max(of.positive.max(), of.negative.max()))]
    hover = "pair %{customdata}: positive %{y:.3g}, negative %{x:.3g}<extra></extra>"
    x, y, ids = (values[:MAX_POINTS] for values in (of.negative, of.positive, of.records))
    shown = points(x, y, hover, ids.tolist(), {"size": 7, "opacity": 0.9}, name="a pair")
    made = figure(diagonal(ends), shown, height=480)
    made.update_xaxes(title=f"projection of the negative text, layer {of.layer}")
    made.update_yaxes(title=f"projection of the positive text, layer {of.layer}")
    above = float((of.positive > of.negative).mean())
    return Drawn(
        made,
        f"Each pair along the direction, at layer {of.layer}",
        f"{of.which}; {percent(above)} lie above the dotted line, where the positive text projects higher; by chance half would. A click shows both texts.",
        f"SELECT layer, method, pair_accuracy, opposite, n_heldout FROM 'RUN/direction_scores/*.parquet' WHERE layer = {of.layer}",
        opens="record",
    )


def _auroc(positive: Any, negative: Any) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(positive, negative).statistic) / (len(positive) * len(negative))
