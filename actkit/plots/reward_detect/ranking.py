"""The ranking of features by how they tell labels apart: its ends, every feature's certainty, and its replication."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from actkit.numerals import signed
from actkit.plots.picture import Drawn, LackingError, Pick, Source, columns_of, needs, sae_shown, sql
from actkit.plots.style import BLUE, CATEGORIES, COLOURS, GREY, MARKS, MAX_POINTS, ORANGE, figure, plain
from actkit.plots.traces import CHANCE, DIAGONAL, DOTTED, diagonal, error_bars, points

ENDS = 10
"""Features of a forest at either end of the ranking."""
SCORES = "SELECT {} FROM 'RUN/feature_scores/*.parquet' WHERE sae = '{}' ORDER BY rank"
HELD_OUT = "auroc_heldout, auroc_heldout_low, auroc_heldout_high"
UNTESTED = "No feature has a p: no label of the texts that have one can be exchanged."
METHODS = {"draws": "random draws", "exact": "exact", "limit": "three-moment approximation"}
"""p_method → its name in a sentence."""


def forest(run: Source, pick: Pick) -> Drawn:
    """Draw discovery and held-out AUROC of the first and last features, with the best AUROC by chance."""
    sae, rows = scores_of(run, pick)
    shown = rows if len(rows) <= 2 * ENDS else rows[:ENDS] + rows[-ENDS:]
    names = [f"{row['feature_id']}" for row in shown]
    made = figure(height=130 + 24 * len(shown))
    about, of_sae = _tested(run, sae)
    high = of_sae["largest_auroc_by_chance"]["q95"]
    low = 1 - high
    made.add_vrect(x0=low, x1=high, fillcolor=CHANCE.format(0.18), line_width=0)
    legend = {"mode": "markers", "marker": {"symbol": "square", "color": CHANCE.format(0.4), "size": 12}}
    made.add_trace(go.Scatter(x=[None], y=[None], name="the best feature by chance: 95 %", **legend))
    for number, (column, name) in enumerate((("auroc", "discovery"), ("auroc_heldout", "held out"))):
        here = [(at, row) for at, row in enumerate(shown) if row[column] is not None]
        at_rows = [at + (0.17 if number else -0.17) for at, _ in here]
        ends = [[row[f"{column}{end}"] for _, row in here] for end in ("", "_low", "_high")]
        marker = {"color": COLOURS[number], "symbol": MARKS[number], "size": 8}
        hover = "feature %{customdata}: %{x:.3f}<extra>" + name + "</extra>"
        ids = [row["feature_id"] for _, row in here]
        made.add_trace(points(ends[0], at_rows, hover, ids, marker, name=name, error_x=error_bars(*ends)))
    made.add_vline(x=0.5, line=DOTTED)
    made.update_xaxes(title="AUROC: positive texts above negative ones")
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"}
    made.update_yaxes(title="feature, by rank", showgrid=False, **ticks)
    n, held = (_n_texts(about, part) for part in ("discovery", "held_out"))
    return Drawn(
        made,
        "Features at either end of the ranking",
        f"The {len(shown)} features of {plain(sae)} with the largest and smallest AUROC of {len(rows):,} tested; {n} texts in discovery, {held} "
        f"held out, 95 % intervals. Grey: where the best of all features lies by chance, {low:.3f} to {high:.3f}.",
        SCORES.format(f"rank, feature_id, auroc, auroc_low, auroc_high, {HELD_OUT}", sql(sae)),
        opens="feature",
    )


def volcano(run: Source, pick: Pick) -> Drawn:
    """Draw AUROC against p, with q, and the smallest p that the method can give."""
    sae, rows = scores_of(run, pick)
    kept = [row for row in rows if row["p_value"] is not None][:MAX_POINTS]
    if not kept:
        raise LackingError(UNTESTED, "reward-detect with texts of both labels in more groups")
    y = [-np.log10(max(row["p_value"], 1e-300)) for row in kept]
    limit = _limit(run)
    made = figure(height=460)
    hover = "feature %{customdata[0]}: AUROC %{x:.3f}, p 10^-%{y:.1f}, q %{customdata[1]:.2g}<extra></extra>"
    made.add_traces(_either_side_of(limit, kept, y, hover, 0.65))
    # Draws are added in rounds: the smallest p is their floor only where several features have it.
    by_draws = [row["p_value"] for row in kept if row["p_method"] == "draws"]
    least = min(by_draws, default=None)
    floor = ""
    if least and by_draws.count(least) > 1:
        named = {"text": "smallest p of the draws", "x": 0.5, "xanchor": "center", "yshift": 2}
        made.add_hline(y=-np.log10(least), line=DIAGONAL, annotation=named)
        floor = f"; the draws give no p below {signed(least, '.1g')}, the dotted line"
    made.update_xaxes(title="AUROC, discovery")
    made.update_yaxes(title="−log₁₀ p", rangemode="tozero")
    methods = sorted({str(row["p_method"]) for row in kept})
    return Drawn(
        made,
        "Size and certainty of every feature",
        f"{len(kept):,} of {len(rows):,} tested features of {plain(sae)}, two-sided p (twice the smaller tail) under exchange of labels ({', '.join(METHODS.get(method, method) for method in methods)}){floor}; "
        f"{sum(row['q_value'] <= limit for row in kept):,} have q ≤ {limit:g} (Benjamini-Hochberg); by chance none would have.",
        SCORES.format("feature_id, auroc, p_value, p_method, q_value", sql(sae)),
        opens="feature",
    )


def replication(run: Source, pick: Pick) -> Drawn:
    """Draw discovery AUROC against held-out AUROC."""
    sae, rows = scores_of(run, pick)
    later = [row for row in rows if row["auroc_heldout"] is not None]
    if not later:
        raise LackingError("No text was held out.", "--held-out 0.3")
    kept = [row for row in later if row["q_value"] is not None]
    if not kept:
        raise LackingError(UNTESTED, "reward-detect with texts of both labels in more groups")
    limit = _limit(run)
    made = figure(diagonal([min(row["auroc"] for row in kept), max(row["auroc"] for row in kept)]), height=480)
    hover = "feature %{customdata[0]}: %{x:.3f}, held out %{y:.3f}<extra></extra>"
    made.add_traces(_either_side_of(limit, kept, [row["auroc_heldout"] for row in kept], hover, 0.6))
    made.update_xaxes(title="AUROC, discovery texts")
    made.update_yaxes(title="AUROC, held-out texts")
    found = [row for row in kept if row["q_value"] <= limit]
    agree = sum(bool(row["heldout_agrees"]) for row in found)
    said = f"of the {len(found):,} with q ≤ {limit:g}, {agree:,} lie on the same side of 0.5 there"
    said = said if found else f"none has q ≤ {limit:g}"
    return Drawn(
        made,
        "Does it hold on texts that chose nothing?",
        f"{len(kept):,} features of {plain(sae)}; {said}. Intervals are in the table; by chance half would agree.",
        SCORES.format(f"feature_id, auroc, {HELD_OUT}, q_value", sql(sae)),
        opens="feature",
    )


def scores_of(run: Source, pick: Pick) -> tuple[str, list[dict[str, Any]]]:
    """Return the SAE that is shown, and its rows of `feature_scores` by rank. Raises LackingError."""
    needs(run, "feature_scores")
    sae = sae_shown(run, pick)
    names = [name for name in columns_of(run, "feature_scores") if name != "contexts"]
    rows = [row for row in run.table("feature_scores", names).to_pylist() if row["sae"] == sae]
    if not rows:
        raise LackingError(f"No feature of {sae} was active in a discovery text.", "more texts, or another SAE")
    return sae, sorted(rows, key=lambda row: row["rank"])


def _tested(run: Source, sae: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of `run.json` on the tests of features, and on one SAE among them. Raises LackingError."""
    about = run.facts.get("scores") or run.facts.get("concept", {}).get("features")
    if not about:
        raise LackingError("This run tested no features.", "reward-detect, or concept with an SAE")
    return about, next(known for known in about["saes"] if known["sae"] == sae)


def _n_texts(about: dict[str, Any], part: str) -> str:
    """Write the number of texts in a part: discovery, or held_out."""
    of = about.get("data", {}).get(part) or {}
    return f"{of.get('positive', 0) + of.get('negative', 0):,}"


def _limit(run: Source) -> float:
    return float(run.facts["options"].get("q", 0.05) or 0.05)


def _either_side_of(
    limit: float, rows: Sequence[dict[str, Any]], y: Sequence[float], hover: str, opacity: float
) -> list[go.Scatter]:
    """Make a point a feature, AUROC against `y`: those with q up to the limit, and the others."""
    found = []
    for number, (small, name) in enumerate(((True, f"q ≤ {limit:g}"), (False, f"q > {limit:g}"))):
        here = [at for at, row in enumerate(rows) if (row["q_value"] <= limit) is small][:MAX_POINTS]
        shape = {"color": (ORANGE, BLUE)[number], "symbol": MARKS[1 - number], "size": 6 if number else 8}
        ids = [[rows[at]["feature_id"], rows[at]["q_value"]] for at in here]
        x = [rows[at]["auroc"] for at in here]
        found.append(points(x, [y[at] for at in here], hover, ids, {**shape, "opacity": opacity}, name=name))
    return found


def probes(run: Source, pick: Pick) -> Drawn:
    """Draw held-out probes of features, of the activations, and length alone."""
    sae = sae_shown(run, pick)
    about, of = _tested(run, sae)
    length = about["length_only"].get("held_out") or about["length_only"]["all"]
    bars: dict[str, dict[str, Any]] = {"length alone": {"auroc": length["value"], **length}}
    for size, probe in of.get("feature_probes", {}).items():
        bars[f"{size} feature{'s' if size != '1' else ''}"] = probe
    if "dense_probe" in of:
        bars["activations"] = of["dense_probe"]
    ends = [[bar[end] for bar in bars.values()] for end in ("auroc", "low", "high")]
    colours = [GREY, *[BLUE] * (len(bars) - 2), ORANGE][: len(bars)]
    marker = {"size": 11, "color": colours, "symbol": "diamond"}
    shown = points(ends[0], list(bars), "%{y}: %{x:.3f}<extra></extra>", None, marker)
    made = figure(shown.update(error_x=error_bars(*ends, color=GREY, width=5)), height=150 + 34 * len(bars))
    made.add_vline(x=0.5, line=DOTTED)
    made.update_xaxes(title="held-out AUROC", range=[min(0.35, *ends[1]) - 0.02, 1.02])
    made.update_yaxes(**CATEGORIES)
    dense = f" {of['dense_probe']['auroc']:.3f} is what the activations themselves give." if "dense_probe" in of else ""
    return Drawn(
        made,
        "What the features are worth together",
        f"Logistic probes fitted on discovery texts, AUROC on {_n_texts(about, 'held_out')} held-out texts with 95 % intervals, of the best features "
        f"of {plain(sae)} by discovery.{dense} Dotted: chance.",
        "-- these figures are in run.json\nSELECT scores.saes, scores.length_only FROM read_json('RUN/run.json', maximum_depth = 4)",
    )
