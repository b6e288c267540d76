"""Pictures of features of feedback: which tell the labels apart, whether it holds, and what it must be read beside."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from actkit.numerals import signed
from actkit.plots.feature_rows import sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Picture, Source, needs, sql
from actkit.plots.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKS,
    MAX_POINTS,
    ORANGE,
    figure,
    panels,
    plain,
)
from actkit.runs.reader import parts, sae_groups

ENDS = 10
"""Features of a forest at either end of the ranking."""
SCORES = "SELECT {} FROM 'RUN/feature_scores/*.parquet' WHERE sae = '{}' ORDER BY rank"


def forest(run: Source, pick: Pick) -> Drawn:
    """Discovery and held-out AUROC of the first and last features, with what chance gives the best."""
    sae, rows = _scores(run, pick)
    shown = rows if len(rows) <= 2 * ENDS else rows[:ENDS] + rows[-ENDS:]
    names = [f"{row['feature_id']}" for row in shown]
    made = figure(height=130 + 24 * len(shown))
    low, high = _chance(run, sae)
    made.add_vrect(x0=low, x1=high, fillcolor="rgba(138,138,138,0.18)", line_width=0)
    legend = {"mode": "markers", "marker": {"symbol": "square", "color": "rgba(138,138,138,0.4)", "size": 12}}
    made.add_trace(go.Scatter(x=[None], y=[None], name="the best feature by chance: 95 %", **legend))
    for number, (column, name) in enumerate((("auroc", "discovery"), ("auroc_heldout", "held out"))):
        here = [(at, row) for at, row in enumerate(shown) if row[column] is not None]
        made.add_trace(
            go.Scatter(
                x=[row[column] for _, row in here],
                y=[at + (0.17 if number else -0.17) for at, _ in here],
                error_x=_bars([row for _, row in here], column),
                mode="markers",
                name=name,
                marker={"color": COLOURS[number], "symbol": MARKS[number], "size": 8},
                customdata=[row["feature_id"] for _, row in here],
                hovertemplate="feature %{customdata}: %{x:.3f}<extra>" + name + "</extra>",
            )
        )
    made.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    made.update_xaxes(title="AUROC: positive texts above negative ones")
    made.update_yaxes(
        title="feature, by rank", tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False
    )
    data = run.facts.get("scores", run.facts.get("concept", {}).get("features", {})).get("data", {})
    n, held = (_n(data, part) for part in ("discovery", "held_out"))
    return Drawn(
        made,
        "Features at either end of the ranking",
        f"The {len(shown)} features of {plain(sae)} with the largest and smallest AUROC of {len(rows):,} tested; {n} texts in discovery, {held} "
        f"held out, 95 % intervals. Grey: where the best of all features lies by chance, {low:.3f} to {high:.3f}.",
        SCORES.format(
            "rank, feature_id, auroc, auroc_low, auroc_high, auroc_heldout, auroc_heldout_low, auroc_heldout_high",
            sql(sae),
        ),
        opens="feature",
    )


UNTESTED = "No feature has a p: no label of the texts that have one can be exchanged."
METHODS = {"draws": "random draws", "exact": "exact", "limit": "three-moment approximation"}
"""p_method → its name in a sentence."""


def volcano(run: Source, pick: Pick) -> Drawn:
    """AUROC against p, with q, and the smallest p that the method can give."""
    sae, rows = _scores(run, pick)
    kept = [row for row in rows if row["p_value"] is not None][:MAX_POINTS]
    if not kept:
        raise LackingError(UNTESTED, "reward-detect with texts of both labels in more groups")
    p = np.maximum(np.array([row["p_value"] for row in kept]), 1e-300)
    q = np.maximum(np.array([row["q_value"] for row in kept]), 1e-300)
    limit = float(run.facts["options"].get("q", 0.05) or 0.05)
    made = figure(height=460)
    for number, (here, name) in enumerate(((q <= limit, f"q ≤ {limit:g}"), (q > limit, f"q > {limit:g}"))):
        at = np.flatnonzero(here)
        made.add_trace(
            go.Scatter(
                x=[kept[index]["auroc"] for index in at],
                y=-np.log10(p[at]),
                mode="markers",
                name=name,
                marker={
                    "color": (ORANGE, BLUE)[number],
                    "symbol": MARKS[1 - number],
                    "size": 6 if number else 8,
                    "opacity": 0.65,
                },
                customdata=[[kept[index]["feature_id"], kept[index]["q_value"]] for index in at],
                hovertemplate="feature %{customdata[0]}: AUROC %{x:.3f}, p 10^-%{y:.1f}, q %{customdata[1]:.2g}<extra></extra>",
            )
        )
    # Draws are added in rounds, so that the floor is what several features have, and no less.
    by_draws = [row["p_value"] for row in kept if row["p_method"] == "draws"]
    least = min(by_draws, default=None)
    floor = ""
    if least and by_draws.count(least) > 1:
        made.add_hline(
            y=-np.log10(least),
            line={"color": GREY, "dash": "dot"},
            annotation={"text": "smallest p of the draws", "x": 0.5, "xanchor": "center", "yshift": 2},
        )
        floor = f"; the draws give no p below {signed(least, '.1g')}, the dotted line"
    made.update_xaxes(title="AUROC, discovery")
    made.update_yaxes(title="−log₁₀ p", rangemode="tozero")
    methods = sorted({str(row["p_method"]) for row in kept})
    return Drawn(
        made,
        "Size and certainty of every feature",
        f"{len(kept):,} of {len(rows):,} tested features of {plain(sae)}, two-sided p (twice the smaller tail) under exchange of labels ({', '.join(METHODS.get(method, method) for method in methods)}){floor}; "
        f"{int((q <= limit).sum()):,} have q ≤ {limit:g} (Benjamini-Hochberg); by chance none would have.",
        SCORES.format("feature_id, auroc, p_value, p_method, q_value", sql(sae)),
        opens="feature",
    )


def replication(run: Source, pick: Pick) -> Drawn:
    """Discovery AUROC against held-out AUROC."""
    sae, rows = _scores(run, pick)
    later = [row for row in rows if row["auroc_heldout"] is not None]
    if not later:
        raise LackingError("No text was held out.", "--held-out 0.3")
    kept = [row for row in later if row["q_value"] is not None]
    if not kept:
        raise LackingError(UNTESTED, "reward-detect with texts of both labels in more groups")
    limit = float(run.facts["options"].get("q", 0.05) or 0.05)
    made = figure(height=480)
    ends = [min(row["auroc"] for row in kept), max(row["auroc"] for row in kept)]
    made.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", name="equal", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    )
    for number, (small, name) in enumerate(((True, f"q ≤ {limit:g}"), (False, f"q > {limit:g}"))):
        here = [row for row in kept if (row["q_value"] <= limit) is small][:MAX_POINTS]
        made.add_trace(
            go.Scatter(
                x=[row["auroc"] for row in here],
                y=[row["auroc_heldout"] for row in here],
                mode="markers",
                name=name,
                marker={
                    "color": (ORANGE, BLUE)[number],
                    "symbol": MARKS[1 - number],
                    "size": 6 if number else 8,
                    "opacity": 0.6,
                },
                customdata=[row["feature_id"] for row in here],
                hovertemplate="feature %{customdata}: %{x:.3f}, held out %{y:.3f}<extra></extra>",
            )
        )
    made.update_xaxes(title="AUROC, discovery texts")
    made.update_yaxes(title="AUROC, held-out texts")
    found = [row for row in kept if row["q_value"] <= limit]
    agree = sum(bool(row["heldout_agrees"]) for row in found)
    said = (
        f"of the {len(found):,} with q ≤ {limit:g}, {agree:,} lie on the same side of 0.5 there"
        if found
        else f"none has q ≤ {limit:g}"
    )
    return Drawn(
        made,
        "Does it hold on texts that chose nothing?",
        f"{len(kept):,} features of {plain(sae)}; {said}. Intervals are in the table; by chance half would agree.",
        SCORES.format("feature_id, auroc, auroc_heldout, auroc_heldout_low, auroc_heldout_high, q_value", sql(sae)),
        opens="feature",
    )


def probes(run: Source, pick: Pick) -> Drawn:
    """Held-out probes of features, of the activations, and length alone."""
    sae = sae_shown(run, pick)
    about = run.facts.get("scores") or run.facts.get("concept", {}).get("features")
    if not about:
        raise LackingError("This run tested no features.", "reward-detect, or concept with an SAE")
    of = next(known for known in about["saes"] if known["sae"] == sae)
    length = about["length_only"].get("held_out") or about["length_only"]["all"]
    bars: list[tuple[str, dict[str, Any]]] = [("length alone", {"auroc": length["value"], **length})]
    for size, probe in of.get("feature_probes", {}).items():
        bars.append((f"{size} feature{'s' if size != '1' else ''}", probe))
    if "dense_probe" in of:
        bars.append(("activations", of["dense_probe"]))
    values = [bar["auroc"] for _, bar in bars]
    made = figure(
        go.Scatter(
            x=values,
            y=[name for name, _ in bars],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [bar["high"] - bar["auroc"] for _, bar in bars],
                "arrayminus": [bar["auroc"] - bar["low"] for _, bar in bars],
                "thickness": 1.4,
                "color": GREY,
                "width": 5,
            },
            mode="markers",
            marker={"size": 11, "color": [GREY, *[BLUE] * (len(bars) - 2), ORANGE][: len(bars)], "symbol": "diamond"},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        ),
        height=150 + 34 * len(bars),
    )
    made.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    made.update_xaxes(title="held-out AUROC", range=[min(0.35, *(bar["low"] for _, bar in bars)) - 0.02, 1.02])
    made.update_yaxes(autorange="reversed", showgrid=False, type="category")
    dense = f" {of['dense_probe']['auroc']:.3f} is what the activations themselves give." if "dense_probe" in of else ""
    return Drawn(
        made,
        "What the features are worth together",
        f"Logistic probes fitted on discovery texts, AUROC on {_n(about['data'], 'held_out')} held-out texts with 95 % intervals, of the best features "
        f"of {plain(sae)} by discovery.{dense} Dotted: chance.",
        "-- these figures are in run.json\nSELECT scores.saes, scores.length_only FROM read_json('RUN/run.json', maximum_depth = 4)",
    )


def feature(run: Source, pick: Pick) -> Drawn:
    """One feature's pooled activation for both labels, and the adjusted figures."""
    sae, rows = _scores(run, pick)
    row = next((row for row in rows if pick.feature in (None, row["feature_id"])), None)
    if row is None:
        raise LackingError(
            f"Feature {pick.feature} of {sae} was not tested: no discovery text has it.", "feature_scores lists them"
        )
    number = row["feature_id"]
    pooled = pooled_of(run, sae, number)
    made = panels(2, widths=[0.6, 0.4], height=440)
    labels = {
        sequence["sequence_id"]: sequence["label"]
        for sequence in run.table("sequences", ["sequence_id", "label"]).to_pylist()
    }
    for at, side in enumerate(("positive", "negative")):
        ids = [sequence_id for sequence_id, of in labels.items() if of == side][:MAX_POINTS]
        values = [pooled.get(sequence_id, 0.0) for sequence_id in ids]
        made.add_trace(
            go.Box(
                y=values,
                name=f"{side}<br>n = {len(ids):,}",
                boxpoints="all",
                jitter=0.6,
                pointpos=0,
                marker={"color": (BLUE, ORANGE)[at], "size": 4, "opacity": 0.55, "symbol": MARKS[at]},
                line={"width": 1.5},
                fillcolor="rgba(0,0,0,0)",
                customdata=ids,
                showlegend=False,
                hovertemplate="sequence %{customdata}: %{y:.3g}<extra></extra>",
            ),
            row=1,
            col=1,
        )
    kinds = [
        ("discovery", "auroc", "auroc_low", "auroc_high"),
        ("held out", "auroc_heldout", "auroc_heldout_low", "auroc_heldout_high"),
        ("equal length", "auroc_length_adjusted", None, None),
        ("within groups", "auroc_within_group", None, None),
    ]
    known = [
        (name, row[value], row.get(str(low)), row.get(str(high)))
        for name, value, low, high in kinds
        if row[value] is not None
    ]
    made.add_trace(
        go.Scatter(
            x=[value for _, value, _, _ in known],
            y=[name for name, *_ in known],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(high or value) - value for _, value, _, high in known],
                "arrayminus": [value - (low if low is not None else value) for _, value, low, _ in known],
                "thickness": 1.4,
                "color": GREY,
            },
            mode="markers",
            marker={"size": 10, "color": GREEN, "symbol": "diamond"},
            showlegend=False,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        ),
        row=1,
        col=2,
    )
    made.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1}, row=1, col=2)
    made.update_yaxes(title="pooled activation", row=1, col=1)
    made.update_xaxes(title="AUROC", row=1, col=2)
    made.update_yaxes(type="category", autorange="reversed", showgrid=False, row=1, col=2)
    held = "" if row["auroc_heldout"] is None else f", {row['auroc_heldout']:.3f} held out"
    q = "no q, since no label of a text that has it can be exchanged"
    q = q if row["q_value"] is None else f"q = {signed(row['q_value'], '.2g')}"
    return Drawn(
        made,
        f"Feature {number}, rank {row['rank']} of {len(rows):,}",
        f"Pooled activation of each text (0: not active) for both labels, and its AUROC with a 95 % interval: {row['auroc']:.3f} ({row['auroc_low']:.3f} to "
        f"{row['auroc_high']:.3f}) in discovery{held}, {q}; beside it within texts of equal length and within groups.",
        f"SELECT s.label, coalesce(list_extract(feature_activations, list_position(feature_ids, {number})), 0) AS pooled\n"
        f"FROM 'RUN/pooled_features/*.parquet' JOIN 'RUN/sequences/*.parquet' s USING (sequence_id) WHERE sae = '{sql(sae)}'",
        opens="sequence",
    )


PICTURES = (
    Picture("forest", "AUROC of the ranking's ends, discovery and held out", forest),
    Picture("volcano", "size and certainty of every feature", volcano),
    Picture("replication", "discovery against held-out AUROC", replication),
    Picture("probes", "probes, activations, length alone", probes),
    Picture("feature", "one feature for both labels", feature),
)


def pooled_of(run: Source, sae: str, feature: int) -> dict[int, float]:
    """sequence_id → pooled activation of one feature, where it is active."""
    needs(run, "pooled_features")
    found: dict[int, float] = {}
    for part in parts(run.path, "pooled_features"):
        for table in sae_groups(part, sae, ["sequence_id", "feature_ids", "feature_activations"]):
            lengths = np.diff(table["feature_ids"].combine_chunks().offsets.to_numpy())
            ids = table["feature_ids"].combine_chunks().flatten().to_numpy()
            values = table["feature_activations"].combine_chunks().flatten().to_numpy()
            at = np.flatnonzero(ids == feature)
            owner = np.searchsorted(np.cumsum(lengths), at, side="right")
            sequences = table["sequence_id"].to_numpy()[owner]
            found |= dict(zip(sequences.tolist(), values[at].tolist(), strict=True))
    return found


def _scores(run: Source, pick: Pick) -> tuple[str, list[dict[str, Any]]]:
    needs(run, "feature_scores")
    sae = sae_shown(run, pick)
    names = [name for name in run.table("feature_scores").column_names if name != "contexts"]
    rows = [row for row in run.table("feature_scores", names).to_pylist() if row["sae"] == sae]
    if not rows:
        raise LackingError(f"No feature of {sae} was active in a discovery text.", "more texts, or another SAE")
    return sae, sorted(rows, key=lambda row: row["rank"])


def _chance(run: Source, sae: str) -> tuple[float, float]:
    about = run.facts.get("scores") or run.facts["concept"]["features"]
    best = next(known for known in about["saes"] if known["sae"] == sae)["largest_auroc_by_chance"]
    return 1 - best["q95"], best["q95"]


def _bars(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    high = [(row[f"{column}_high"] if row[f"{column}_high"] is not None else row[column]) - row[column] for row in rows]
    low = [row[column] - (row[f"{column}_low"] if row[f"{column}_low"] is not None else row[column]) for row in rows]
    return {"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1.3, "width": 3}


def _n(data: dict[str, Any], part: str) -> str:
    of = data.get(part) or {}
    return f"{of.get('positive', 0) + of.get('negative', 0):,}"
