"""Pictures of a concept's directions: how well they tell the sides apart, what else does, and where they agree."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from actkit.analysis.length import spearman
from actkit.numerals import percent, signed
from actkit.plots.concept_sides import chosen, projected
from actkit.plots.picture import Drawn, LackingError, Pick, Picture, Source, columns_of, needs
from actkit.plots.style import (
    BLUE,
    COLOURS,
    DASHES,
    DIVERGING,
    GREY,
    MARKS,
    MAX_POINTS,
    ORANGE,
    band,
    colour_bar,
    figure,
    label,
    layer_axis,
    panels,
    plain,
    wholes,
)

WARN = 0.5
"""Spearman correlation with length above which a direction may be one of length."""
NEAREST = 12


def layers(run: Source, _pick: Pick) -> Drawn:
    """Held-out AUROC by layer and method, with intervals and the bands of chance."""
    needs(run, "direction_scores")
    rows = [row for row in run.table("direction_scores").to_pylist() if row["auroc_heldout"] is not None]
    if not rows:
        raise LackingError("No pair was held out: the run has fewer than 12 stems.", "more stems")
    about = run.facts["concept"]
    shown = [row for row in rows if row["method"] == about["method"]]
    made = figure(height=460)
    x = [row["layer"] for row in shown]
    for ends, name, colour in (
        (("shuffled_low", "shuffled_high"), "sides exchanged: 95 %", GREY),
        (("random_low", "random_high"), "random directions: 95 %", "#d6a400"),
    ):
        low, high = ([row[end] for row in shown] for end in ends)
        if all(end is not None for end in (*low, *high)):
            for trace in band(x, low, high, name, colour):
                made.add_trace(trace)
    methods = [
        method
        for method in (about["method"], "pca", "logistic", "mean-diff")
        if any(r["method"] == method for r in rows)
    ]
    for number, method in enumerate(dict.fromkeys(methods)):
        here = [row for row in rows if row["method"] == method]
        # Side by side, so that the intervals of one layer can be told apart.
        step = 0.012 * (max(x) - min(x) + 1) * (number - 1)
        y = [row["auroc_heldout"] for row in here]
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [(row["auroc_heldout_high"] or value) - value for row, value in zip(here, y, strict=True)],
            "arrayminus": [
                value - (row["auroc_heldout_low"] if row["auroc_heldout_low"] is not None else value)
                for row, value in zip(here, y, strict=True)
            ],
            "thickness": 1.2,
            "width": 3,
        }
        colour = COLOURS[number % len(COLOURS)]
        made.add_trace(
            go.Scatter(
                x=[row["layer"] + step for row in here],
                y=y,
                error_y=bars,
                name=label(method),
                mode="lines+markers",
                line={"color": colour, "dash": DASHES[number], "width": 2},
                marker={"symbol": MARKS[number], "size": 7, "color": colour},
                hovertemplate="layer %{x:.0f}: %{y:.3f}<extra>" + label(method) + "</extra>",
            )
        )
    best = about["chosen"].get(about["method"])
    if best:
        made.add_vline(
            x=best["layer"],
            line={"color": GREY, "dash": "dot", "width": 1.5},
            annotation_text="chosen",
            annotation_position="bottom right",
        )
    layer_axis(made, x)
    made.update_yaxes(
        title="held-out AUROC",
        range=[min([0.2, *(r["auroc_heldout"] for r in rows), *(r["random_low"] or 1 for r in shown)]) - 0.03, 1.03],
    )
    said = f"; chosen on validation pairs: layer {best['layer']}, {_interval(best)} on the test pairs" if best else ""
    n = shown[0]["n_heldout"]
    return Drawn(
        made,
        "How well a direction tells the sides apart, by layer",
        f"AUROC of {n:,} test pairs with its 95 % interval, clustered by stem{said}. The bands are what the AUROC of "
        f"{plain(about['method'])} is when sides are exchanged, and of random directions.",
        "SELECT layer, method, auroc_heldout, auroc_heldout_low, auroc_heldout_high, shuffled_low, shuffled_high,\n"
        "       random_low, random_high, n_heldout FROM 'RUN/direction_scores/*.parquet' ORDER BY ALL",
    )


def projections(run: Source, pick: Pick) -> Drawn:
    """Histograms of both sides' projections."""
    of = projected(run, pick)
    both = np.concatenate([of.positive, of.negative])
    edges = np.linspace(both.min(), both.max() or 1, 1 + int(np.clip(2 * len(both) ** 0.5, 8, 40)))
    made = figure()
    for values, name, colour in ((of.positive, "positive", BLUE), (of.negative, "negative", ORANGE)):
        made.add_trace(
            go.Histogram(
                x=values,
                name=name,
                marker={"color": colour, "pattern": {"shape": "" if name == "positive" else "/"}},
                opacity=0.65,
                xbins={
                    "start": float(edges[0]),
                    "end": float(edges[-1]) + 1e-9,
                    "size": float(edges[1] - edges[0]) or 1.0,
                },
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
        f"{of.which}; a positive text projects higher than a negative one with chance {_interval(row) if known else f'{above:.3f}'}.",
        f"SELECT direction FROM 'RUN/directions/*.parquet' WHERE layer = {of.layer} AND method = '{of.method}'\n"
        "-- projected: the activations of the same layer, times it",
    )


def length(run: Source, pick: Pick) -> Drawn:
    """Projection against the number of tokens."""
    of = projected(run, pick)
    made = figure()
    for values, tokens, name, number in (
        (of.positive, of.tokens[0], "positive", 0),
        (of.negative, of.tokens[1], "negative", 1),
    ):
        made.add_trace(
            go.Scatter(
                x=tokens[:MAX_POINTS],
                y=values[:MAX_POINTS],
                name=name,
                mode="markers",
                marker={"color": COLOURS[number], "symbol": MARKS[number], "size": 7, "opacity": 0.9},
                customdata=of.records[:MAX_POINTS].tolist(),
                hovertemplate="pair %{customdata}: %{x} tokens, %{y:.3g}<extra>" + name + "</extra>",
            )
        )
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
    made = figure(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, name="equal", hoverinfo="skip"),
        go.Scatter(
            x=of.negative[:MAX_POINTS],
            y=of.positive[:MAX_POINTS],
            mode="markers",
            name="a pair",
            marker={"color": BLUE, "size": 7, "opacity": 0.9},
            customdata=of.records[:MAX_POINTS].tolist(),
            hovertemplate="pair %{customdata}: positive %{y:.3g}, negative %{x:.3g}<extra></extra>",
        ),
        height=480,
    )
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


def directions(run: Source, pick: Pick) -> Drawn:
    """Cosines between methods and layers, and the nearest features."""
    needs(run, "directions")
    rows = [row for row in run.table("directions").to_pylist() if row["direction"]]
    width = len(rows[0]["direction"]) if rows else 0
    rows = sorted(
        (row for row in rows if len(row["direction"]) == width), key=lambda row: (row["method"], row["layer"])
    )
    if not rows:
        raise LackingError("This run has no direction.", "two stems at least")
    vectors = np.array([row["direction"] for row in rows])
    names = [f"{label(row['method'])} {row['layer']}" for row in rows]
    near = _nearest(run, pick)
    made = panels(2 if near else 1, widths=[0.66, 0.34] if near else None, height=520)
    heat = go.Heatmap(
        z=vectors @ vectors.T,
        x=names,
        y=names,
        colorscale=DIVERGING,
        zmin=-1,
        zmax=1,
        hovertemplate="%{x} · %{y}: %{z:.2f}<extra></extra>",
        colorbar=colour_bar("cosine"),
    )
    made.add_trace(heat, row=1, col=1)
    made.update_xaxes(tickangle=-60, type="category", showgrid=False, row=1, col=1)
    made.update_yaxes(type="category", autorange="reversed", showgrid=False, row=1, col=1)
    if near:
        bars = go.Bar(
            x=[row["cosine"] for row in near],
            y=[str(row["feature_id"]) for row in near],
            orientation="h",
            marker_color=BLUE,
            showlegend=False,
            customdata=[row["feature_id"] for row in near],
            hovertemplate="feature %{customdata}: %{x:.3f}<extra></extra>",
        )
        made.add_trace(bars, row=1, col=2)
        made.update_xaxes(title="cosine with its decoder row", row=1, col=2)
        made.update_yaxes(title="feature", type="category", autorange="reversed", row=1, col=2)
    said = (
        f", and the {len(near)} features nearest to {plain(near[0]['method'])} at layer {near[0]['layer']}"
        if near
        else ""
    )
    return Drawn(
        made,
        "Do methods and layers find the same direction?",
        f"Cosines of the {len(rows)} unit directions{said}; two random directions in {width} dimensions have a cosine within "
        f"±{1.96 / width**0.5:.2f} in 95 of 100 cases.",
        "SELECT layer, method, direction FROM 'RUN/directions/*.parquet' ORDER BY method, layer",
        opens="feature",
    )


PICTURES = (
    Picture("layers", "held-out AUROC by layer and method, with the bands of chance", layers),
    Picture("projections", "both sides along the direction", projections),
    Picture("length", "projection against length", length),
    Picture("pairs", "each pair as a point", pairs),
    Picture("directions", "cosines between methods and layers, nearest features", directions),
)


def _nearest(run: Source, pick: Pick) -> list[dict[str, Any]]:
    if "direction_features" not in run.tables:
        return []
    rows: list[dict[str, Any]] = run.table("direction_features").to_pylist()
    method = run.facts["concept"]["method"]
    here = [row for row in rows if row["method"] == method and pick.layer in (None, row["layer"])]
    if not here:
        return []
    first = here[0]
    same = [row for row in here if row["sae"] == first["sae"] and row["layer"] == first["layer"]]
    return sorted(same, key=lambda row: row["rank"])[:NEAREST]


def _interval(row: dict[str, Any]) -> str:
    low, high = row.get("auroc_heldout_low"), row.get("auroc_heldout_high")
    return f"{row['auroc_heldout']:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _auroc(positive: Any, negative: Any) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(positive, negative).statistic) / (len(positive) * len(negative))
