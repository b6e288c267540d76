"""One feature of feedback: its pooled activation for both labels, and the figures that adjust for length and groups."""

import plotly.graph_objects as go

from actkit.numerals import signed
from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs, sql
from actkit.plots.reward_detect.ranking import scores_of
from actkit.plots.style import BLUE, CATEGORIES, GREEN, GREY, MARKS, MAX_POINTS, ORANGE, panels
from actkit.plots.traces import DOTTED, error_bars, points
from actkit.runs.by_feature import positions_of_feature

COMPARED = {
    "discovery": "auroc",
    "held out": "auroc_heldout",
    "equal length": "auroc_length_adjusted",
    "within groups": "auroc_within_group",
}
"""Label of a row in the picture → its column of `feature_scores`."""


def feature(run: Source, pick: Pick) -> Drawn:
    """Draw one feature's pooled activation for both labels, and the adjusted figures."""
    sae, rows = scores_of(run, pick)
    row = next((row for row in rows if pick.feature in (None, row["feature_id"])), None)
    if row is None:
        raise LackingError(
            f"Feature {pick.feature} of {sae} was not tested: no discovery text has it.", "feature_scores lists them"
        )
    number = row["feature_id"]
    needs(run, "pooled_features")
    active = positions_of_feature(run.path, sae, number)
    pooled = dict(zip(active["sequence_id"].to_pylist(), active["activation"].to_pylist(), strict=True))
    made = panels(2, widths=[0.6, 0.4], height=440)
    sequences = run.table("sequences", ["sequence_id", "label"]).to_pylist()
    labels = {sequence["sequence_id"]: sequence["label"] for sequence in sequences}
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
    figures = [row[column] for column in COMPARED.values()]
    lows, highs = ([row.get(f"{column}_{end}") for column in COMPARED.values()] for end in ("low", "high"))
    known = [at for at, value in enumerate(figures) if value is not None]
    names, *ends = ([list(values)[at] for at in known] for values in (COMPARED, figures, lows, highs))
    marker = {"size": 10, "color": GREEN, "symbol": "diamond"}
    shown = points(ends[0], names, "%{y}: %{x:.3f}<extra></extra>", None, marker, showlegend=False)
    made.add_trace(shown.update(error_x=error_bars(*ends, color=GREY)), row=1, col=2)
    made.add_vline(x=0.5, line=DOTTED, row=1, col=2)
    made.update_yaxes(title="pooled activation", row=1, col=1)
    made.update_xaxes(title="AUROC", row=1, col=2)
    made.update_yaxes(**CATEGORIES, row=1, col=2)
    q = "no q, since no label of a text that has it can be exchanged"
    q = q if row["q_value"] is None else f"q = {signed(row['q_value'], '.2g')}"
    held = "" if row["auroc_heldout"] is None else f", {row['auroc_heldout']:.3f} held out"
    return Drawn(
        made,
        f"Feature {number}, rank {row['rank']} of {len(rows):,}",
        f"Pooled activation of each text (0: not active) for both labels, and its AUROC with a 95 % interval: {row['auroc']:.3f} ({row['auroc_low']:.3f} to "
        f"{row['auroc_high']:.3f}) in discovery{held}, {q}; beside it within texts of equal length and within groups.",
        f"SELECT s.label, coalesce(list_extract(feature_activations, list_position(feature_ids, {number})), 0) AS pooled\n"
        f"FROM 'RUN/pooled_features/*.parquet' JOIN 'RUN/sequences/*.parquet' s USING (sequence_id) WHERE sae = '{sql(sae)}'",
        opens="sequence",
    )
