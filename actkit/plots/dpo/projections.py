"""Preference pairs: how far the sides are apart, where they diverge, and tokens and pairs along directions."""

import collections

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc

from actkit.analysis.length import spearman
from actkit.analysis.pair_vectors import SIDES
from actkit.numerals import percent, signed
from actkit.plots.capture import vectors_of
from actkit.plots.dpo.pair_vectors import differences_at, drifts, halves, layer_differences, layer_of
from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs
from actkit.plots.strip import strip
from actkit.plots.style import (
    BLUE,
    DIVERGING,
    FEW,
    GREY,
    LOG,
    ORANGE,
    colour_bar,
    counts,
    figure,
    label,
    layer_axis,
    panels,
    wholes,
)
from actkit.plots.traces import band, line, points
from actkit.runs.by_sequence import sequences_of

BINS = 40
TOKENS = 40


def layers(run: Source, _pick: Pick) -> Drawn:
    """Draw differences by layer, and the mean difference with the null band of exchanged sides."""
    needs(run, "pair_diffs", "pairs", "activations")
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
    """Draw where in the answer the pairs diverge, and the number of pairs of each status."""
    needs(run, "pairs")
    rows = run.table("pairs").to_pylist()
    at = [
        row["chosen_divergence"] - row["chosen_response_start"]
        for row in rows
        if row["chosen_divergence"] is not None and row["status"] == "ok"
    ]
    statuses = collections.Counter(row["status"] for row in rows)
    made = panels(2, widths=[0.65, 0.35])
    size = max(1, -(-(max(at, default=0) + 1) // BINS))  # whole tokens, so that a bar stands at its number
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


def pca(run: Source, pick: Pick) -> Drawn:
    """Draw two principal components of pair differences, uncentred and centred, coloured by length difference."""
    layer, point = layer_of(run, pick)
    records, differences = differences_at(run, point)
    if len(records) < 3:
        raise LackingError("Principal components need three pairs.", "more pairs")
    lengths = {
        row["record_id"]: row["chosen_length"] - row["rejected_length"] for row in run.table("pairs").to_pylist()
    }
    longer = np.array([lengths.get(int(record), 0) for record in records], dtype=np.float64)
    made = panels(2, ("uncentred: holds the mean difference", "centred: what varies around it"), height=440)
    limit = float(np.quantile(np.abs(longer), 0.95)) or 1.0
    shares = []
    for number, values in enumerate((differences, differences - differences.mean(axis=0)), 1):
        left, sizes, _ = np.linalg.svd(values, full_matrices=False)
        scores = left[:, :2] * sizes[:2]
        share = sizes[:2] ** 2 / max(float((sizes**2).sum()), 1e-30)
        shares.append(abs(float(np.nan_to_num(spearman(scores[:, 0], longer)))))
        marker = {
            "color": longer,
            "colorscale": DIVERGING,
            "cmin": -limit,
            "cmax": limit,
            "size": 7,
            "line": {"width": 0.6, "color": GREY},
            "showscale": number == 2,
            "colorbar": colour_bar("tokens longer"),
        }
        hover = "pair %{customdata}<br>%{x:.3g}, %{y:.3g}; %{marker.color:+.0f} tokens<extra></extra>"
        second = scores[:, 1] if scores.shape[1] > 1 else np.zeros(len(scores))
        made.add_trace(points(scores[:, 0], second, hover, records.tolist(), marker, showlegend=False), 1, number)
        made.update_xaxes(title=f"PC 1 ({percent(share[0])} of the squares)", row=1, col=number)
        made.update_yaxes(title=f"PC 2 ({percent(share[1] if len(share) > 1 else 0)})", row=1, col=number)
    return Drawn(
        made,
        f"Pair differences at layer {layer} in two dimensions, and length",
        f"{len(records):,} pairs, chosen − rejected of the answers' means, coloured by how many tokens chosen is longer; PC 1 has "
        f"a Spearman correlation of {signed(shares[0], '.2f')} (uncentred) and {signed(shares[1], '.2f')} (centred) in size with that length difference; by chance it would be below {1.96 / (len(records) - 1) ** 0.5:.2f} in 95 of 100 cases.",
        "SELECT record_id, chosen_length - rejected_length AS tokens_longer FROM 'RUN/pairs/*.parquet' ORDER BY 1",
        opens="record",
    )


def pair(run: Source, pick: Pick) -> Drawn:
    """Draw one pair after its divergence, coloured by projection on the mean difference."""
    layer, point = layer_of(run, pick)
    records, differences = differences_at(run, point)
    pairs = run.table("pairs").to_pylist()
    row = next(
        (row for row in pairs if pick.record == row["record_id"] or (pick.record is None and row["status"] == "ok")),
        None,
    )
    if row is None:
        raise LackingError("This run has no such pair with two answers that part.", "actkit show lists them")
    wanted = int(row["record_id"])
    sides = run.table("sequences", ["sequence_id", "record_id", "side"])
    here = sides.filter(pc.equal(sides["record_id"], wanted)).to_pylist()
    ids = {sequence["side"]: sequence["sequence_id"] for sequence in here}
    texts = sequences_of(run.path, [ids[side] for side in SIDES if side in ids])
    direction = halves(records, differences)[wanted % 2]
    rows: list[tuple[str, list[str], list[float | None]]] = []
    for side in (name for name in SIDES if name in ids):
        text, first = texts[ids[side]], row[f"{side}_divergence"]
        first = text.row["start"] if first is None else first
        positions, vectors = vectors_of(run, ids[side], point)
        values = dict(zip(positions.tolist(), (vectors @ direction).tolist(), strict=True)) if len(vectors) else {}
        boxes = [box for box in text.boxes if box.first >= first]
        rows.append((side, [box.text for box in boxes], [values.get(box.last) for box in boxes]))
    known = [value for _, _, values in rows for value in values if value is not None]
    middle = sum(known) / max(len(known), 1)
    centred = [(side, tokens, [None if at is None else at - middle for at in values]) for side, tokens, values in rows]
    made = strip(centred, "projection, less its mean", signed=True)
    return Drawn(
        made,
        f"Pair {wanted}: both answers from the token where they part",
        f"Each token's projection at layer {layer} on the unit mean of chosen − rejected, made of the {len(records):,} pairs' "
        "other half, so that this pair is not in it, less the mean of both answers; they stand aligned at the divergence. One pair, so there is no interval.",
        "SELECT t.sequence_id, t.position, t.token, a.activation FROM 'RUN/tokens/*.parquet' t\n"
        "JOIN 'RUN/sequences/*.parquet' s USING (sequence_id) JOIN 'RUN/activations/*.parquet' a\n"
        f"USING (sequence_id, position) WHERE s.record_id = {wanted} AND a.layer = {layer} ORDER BY ALL",
    )


def drift(run: Source, pick: Pick) -> Drawn:
    """Draw the mean projection of both sides, token by token after the divergence."""
    layer, point = layer_of(run, pick)
    records, differences = differences_at(run, point)
    directions = halves(records, differences)
    sums: dict[str, list[list[float]]] = {side: [[] for _ in range(TOKENS)] for side in SIDES}
    for side, offsets, values in drifts(run, point, directions):
        for offset, value in zip(offsets[:TOKENS].tolist(), values.tolist(), strict=False):
            if offset < TOKENS:
                sums[side][offset].append(value)
    made = figure()
    for number, side in enumerate(SIDES):
        kept = [(at, np.array(values)) for at, values in enumerate(sums[side]) if len(values) >= 5]
        x, y = [at for at, _ in kept], [float(values.mean()) for _, values in kept]
        half = [1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 for _, values in kept]
        low, high = ([a + sign * b for a, b in zip(y, half, strict=True)] for sign in (-1, 1))
        made.add_traces(band(x, low, high, f"{side}: 95 %", (BLUE, ORANGE)[number]))
        made.add_trace(line(x, y, side, number))
    if not len(made.data) or not len(made.data[2].x or ()):
        raise LackingError("Fewer than five pairs go on after their divergence.", "more pairs, or --positions all")
    made.update_xaxes(title="tokens after the divergence", **wholes(at for side in made.data for at in side.x or ()))
    made.update_yaxes(title="projection on the unit mean difference")
    return Drawn(
        made,
        f"What the sides do after they part, at layer {layer}",
        f"Mean over up to {len(records):,} pairs, and its 95 % interval, of the projection on the mean of chosen − rejected; each "
        "pair is projected on the mean of the other half of the pairs, and a token is shown where five pairs or more reach it.",
        f"SELECT a.sequence_id, a.position, a.activation FROM 'RUN/activations/*.parquet' a WHERE a.layer = {layer}",
    )
