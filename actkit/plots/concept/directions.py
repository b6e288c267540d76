"""Directions of a concept: how well they tell the sides apart, and where they agree with one another and with features."""

from operator import itemgetter
from typing import Any

import numpy as np

from actkit.plots.concept.sides import interval
from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs
from actkit.plots.style import CATEGORIES, GREY, YELLOW, figure, label, layer_axis, panels, plain
from actkit.plots.traces import band, cosine_map, error_bars, feature_bars, line

NEAREST = 12


def layers(run: Source, _pick: Pick) -> Drawn:
    """Draw held-out AUROC by layer and method, with intervals and the bands of chance."""
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
        (("random_low", "random_high"), "random directions: 95 %", YELLOW),
    ):
        low, high = ([row[end] for row in shown] for end in ends)
        if all(end is not None for end in (*low, *high)):
            made.add_traces(band(x, low, high, name, colour))
    methods = dict.fromkeys((about["method"], "pca", "logistic", "mean-diff"))
    known = {row["method"] for row in rows}
    for number, method in enumerate(method for method in methods if method in known):
        here = [row for row in rows if row["method"] == method]
        # Side by side, so that the intervals of one layer can be told apart.
        step = 0.012 * (max(x) - min(x) + 1) * (number - 1)
        aurocs, lows, highs = ([row[f"auroc_heldout{end}"] for row in here] for end in ("", "_low", "_high"))
        shown_as = line([row["layer"] + step for row in here], aurocs, label(method), number)
        hover = "layer %{x:.0f}: %{y:.3f}<extra>" + label(method) + "</extra>"
        made.add_trace(shown_as.update(error_y=error_bars(aurocs, lows, highs), hovertemplate=hover))
    best = about["chosen"].get(about["method"])
    if best:
        dotted = {"color": GREY, "dash": "dot", "width": 1.5}
        made.add_vline(best["layer"], line=dotted, annotation_text="chosen", annotation_position="bottom right")
    layer_axis(made, x)
    least = min(0.2, *(row["auroc_heldout"] for row in rows), *(row["random_low"] or 1 for row in shown))
    made.update_yaxes(title="held-out AUROC", range=[least - 0.03, 1.03])
    said = f"; chosen on validation pairs: layer {best['layer']}, {interval(best)} on the test pairs" if best else ""
    n = shown[0]["n_heldout"]
    return Drawn(
        made,
        "How well a direction tells the sides apart, by layer",
        f"AUROC of {n:,} test pairs with its 95 % interval, clustered by stem{said}. The bands are what the AUROC of "
        f"{plain(about['method'])} is when sides are exchanged, and of random directions.",
        "SELECT layer, method, auroc_heldout, auroc_heldout_low, auroc_heldout_high, shuffled_low, shuffled_high,\n"
        "       random_low, random_high, n_heldout FROM 'RUN/direction_scores/*.parquet' ORDER BY ALL",
    )


def directions(run: Source, pick: Pick) -> Drawn:
    """Draw cosines between methods and layers, and the nearest features."""
    needs(run, "directions")
    rows = [row for row in run.table("directions").to_pylist() if row["direction"]]
    width = len(rows[0]["direction"]) if rows else 0
    rows = sorted((row for row in rows if len(row["direction"]) == width), key=itemgetter("method", "layer"))
    if not rows:
        raise LackingError("This run has no direction.", "two stems at least")
    vectors = np.array([row["direction"] for row in rows])
    names = [f"{label(row['method'])} {row['layer']}" for row in rows]
    near = _nearest(run, pick)
    made = panels(2 if near else 1, widths=[0.66, 0.34] if near else None, height=520)
    made.add_trace(cosine_map(vectors, names), row=1, col=1)
    made.update_xaxes(tickangle=-60, type="category", showgrid=False, row=1, col=1)
    made.update_yaxes(**CATEGORIES, row=1, col=1)
    said = ""
    if near:
        said = f", and the {len(near)} features nearest to {plain(near[0]['method'])} at layer {near[0]['layer']}"
        ids, cosines = ([row[name] for row in near] for name in ("feature_id", "cosine"))
        made.add_trace(feature_bars(ids, cosines, showlegend=False), row=1, col=2)
        made.update_xaxes(title="cosine with its decoder row", row=1, col=2)
        made.update_yaxes(title="feature", **CATEGORIES, row=1, col=2)
    return Drawn(
        made,
        "Do methods and layers find the same direction?",
        f"Cosines of the {len(rows)} unit directions{said}; two random directions in {width} dimensions have a cosine within "
        f"±{1.96 / width**0.5:.2f} in 95 of 100 cases.",
        "SELECT layer, method, direction FROM 'RUN/directions/*.parquet' ORDER BY method, layer",
        opens="feature",
    )


def _nearest(run: Source, pick: Pick) -> list[dict[str, Any]]:
    if "direction_features" not in run.tables:
        return []
    method = run.facts["concept"]["method"]
    rows = [row for row in run.table("direction_features").to_pylist() if row["method"] == method]
    here = [row for row in rows if pick.layer in (None, row["layer"])]
    same = [row for row in here if row["sae"] == here[0]["sae"] and row["layer"] == here[0]["layer"]]
    return sorted(same, key=itemgetter("rank"))[:NEAREST]
