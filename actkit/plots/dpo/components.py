"""Preference pairs in two dimensions: the principal components of their differences, and length."""

import numpy as np

from actkit.analysis.length import spearman
from actkit.numerals import percent, signed
from actkit.plots.dpo.pair_vectors import differences_at, layer_of, rows_of_pairs
from actkit.plots.picture import Drawn, LackingError, Pick, Source
from actkit.plots.style import DIVERGING, GREY, colour_bar, panels
from actkit.plots.traces import points


def pca(run: Source, pick: Pick) -> Drawn:
    """The pair differences' first two principal components, uncentred and centred, coloured by length difference."""
    layer, point = layer_of(run, pick)
    records, differences = differences_at(run, point)
    if len(records) < 3:
        raise LackingError("Principal components need three pairs.", "more pairs")
    lengths = {row["record_id"]: row["chosen_length"] - row["rejected_length"] for row in rows_of_pairs(run)}
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
