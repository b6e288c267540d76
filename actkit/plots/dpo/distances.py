"""How far the sides of preference pairs are apart: by layer, and where in the answer they part."""

import collections

import numpy as np
import plotly.graph_objects as go

from actkit.plots.dpo.pair_vectors import layer_differences, rows_of_pairs
from actkit.plots.picture import Drawn, Pick, Source, needs
from actkit.plots.style import BLUE, FEW, GREY, LOG, ORANGE, counts, figure, label, layer_axis, panels
from actkit.plots.traces import band, line

BINS = 40


def layers(run: Source, _pick: Pick) -> Drawn:
    """Differences by layer, and the mean difference beside what exchanged sides give."""
    needs(run, "pair_diffs")
    needs(run, "pairs")
    needs(run, "activations")
    table = run.table("pair_diffs", ["layer", "divergence_diff_norm", "response_diff_norm"]).to_pandas()
    means = layer_differences(run)
    scale = {layer.layer: layer.scale for layer in means}
    table = table[table["layer"].isin(scale)]
    made = figure(height=440)
    for number, (column, name) in enumerate(
        (("divergence_diff_norm", "at the divergence"), ("response_diff_norm", "means of the answers"))
    ):
        share = table.assign(share=table[column] / table["layer"].map(scale)).dropna(subset=["share"])
        by = share.groupby("layer")["share"].quantile([0.25, 0.5, 0.75]).unstack()
        colour = (BLUE, ORANGE)[number]
        made.add_traces(band(by.index, by[0.25], by[0.75], f"{name}: quartiles", colour))
        made.add_trace(line(by.index, by[0.5], f"{name}: median", number))
    x = [layer.layer for layer in means]
    low, high = ([float(np.quantile(layer.null, q)) / layer.scale for layer in means] for q in (0.025, 0.975))
    made.add_traces(band(x, low, high, "mean difference, sides exchanged: 95 %", GREY))
    made.add_trace(line(x, [float(np.linalg.norm(layer.mean)) / layer.scale for layer in means], "mean difference", 2))
    layer_axis(made, x)
    made.update_yaxes(title="share of the answers' mean norm", **LOG)
    above = [float(np.linalg.norm(layer.mean)) / max(float(np.quantile(layer.null, 0.975)), 1e-30) for layer in means]
    times = max(above)
    most = means[above.index(times)]
    return Drawn(
        made,
        "How far chosen and rejected are apart, by layer",
        f"Median and quartiles over pairs of |chosen − rejected|, and the norm of the mean difference of {means[0].n:,} pairs "
        f"with its 95 % band under {len(most.null)} random exchanges of sides; at layer {most.layer} it is {times:.1f} times "
        "the band's upper end.",
        "SELECT layer, quantile_cont(divergence_diff_norm, [.25, .5, .75]) AS at_divergence,\n"
        "       quantile_cont(response_diff_norm, [.25, .5, .75]) AS of_answers, count(*) AS pairs\n"
        "FROM 'RUN/pair_diffs/*.parquet' GROUP BY layer ORDER BY layer",
    )


def divergence(run: Source, _pick: Pick) -> Drawn:
    """Where in the answer the pairs part, and how many have which status."""
    rows = rows_of_pairs(run)
    at = [
        row["chosen_divergence"] - row["chosen_response_start"]
        for row in rows
        if row["chosen_divergence"] is not None and row["status"] == "ok"
    ]
    statuses = collections.Counter(row["status"] for row in rows)
    made = panels(2, widths=[0.65, 0.35])
    size = max(1, -(-(max(at, default=0) + 1) // BINS))  # whole tokens, so that a bar is where it says
    bins = {"start": -0.5, "end": max(at, default=0) + 0.5 + size, "size": size}
    made.add_trace(go.Histogram(x=at, marker_color=BLUE, showlegend=False, xbins=bins), 1, 1)
    names = sorted(statuses, key=lambda status: statuses[status])
    made.add_trace(
        go.Bar(
            x=[statuses[status] for status in names],
            y=[label(status) for status in names],
            orientation="h",
            marker_color=ORANGE,
            showlegend=False,
            text=[f"{statuses[status]:,}" for status in names],
            textposition="outside",
            cliponaxis=False,
            width=0.5,
        ),
        1,
        2,
    )
    reach = max(max(at, default=0) + size, FEW)
    made.update_xaxes(title="tokens into the answer", tickformat="d", range=[-0.5, reach], row=1, col=1)
    most = max(collections.Counter(offset // size for offset in at).values(), default=1)
    made.update_yaxes(title="pairs", **counts(most), row=1, col=1)
    made.update_xaxes(title="pairs", **counts(max(statuses.values(), default=1)), row=1, col=2)
    middle = f"half of them before token {int(np.median(at)) + 1} of the answer" if at else "none of them in the answer"
    return Drawn(
        made,
        "Where the pairs part",
        f"{len(rows):,} pairs; {len(at):,} answer the same prompt and part, {middle}. Counts, so there is no interval.",
        "SELECT status, chosen_divergence - chosen_response_start AS tokens_into_the_answer, count(*) AS pairs\n"
        "FROM 'RUN/pairs/*.parquet' GROUP BY ALL ORDER BY ALL",
    )
