"""One feature on a corpus: how strongly it is active, and where in a document."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc

from actkit.numerals import percent
from actkit.plots.feature_dataset.all_features import DENSE, EXACT, stats_of
from actkit.plots.picture import (
    Drawn,
    LackingError,
    Pick,
    Source,
    columns_of,
    d_sae_of,
    needs,
    sae_shown,
    sequence_shown,
    sql,
)
from actkit.plots.strip import MOST, strip
from actkit.plots.style import BLUE, LOG, counts, figure, plain
from actkit.runs.by_feature import positions_of_feature
from actkit.runs.by_sequence import sequences_of

BINS = 40
"""Bins of a feature's histogram, between 0 and its largest activation."""


def feature(run: Source, pick: Pick) -> Drawn:
    """Draw the histogram of one feature's activations."""
    sae, number = feature_shown(run, pick)
    bins, most = histogram_of(run, sae, number)
    edges = np.linspace(0, most, len(bins) + 1)
    made = figure(
        go.Bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=[int(count) if count else None for count in bins],
            width=float(edges[1] - edges[0]) * 0.92,
            marker_color=BLUE,
            hovertemplate="%{x:.3g}: %{y:,} tokens<extra></extra>",
        )
    )
    made.update_xaxes(title="activation", range=[0, most * 1.01])
    wide = max(bins) > 50
    made.update_yaxes(
        title="tokens",
        **({**LOG, "dtick": 1, "range": [-0.3, np.log10(max(bins)) + 0.1]} if wide else counts(max(bins))),
    )
    row = _row(run, sae, number)
    said, rate = "Exact over the run's tokens, special ones included; there is no interval.", ""
    if row and row.get("histogram"):
        said, density = EXACT, row.get("density")
        n_tokens = round(row.get("n_active", 0) / density) if density else 0
        rate = "" if density is None else f", {percent(density, n_tokens)} of the tokens"
    return Drawn(
        made,
        f"Feature {number}: how strongly it is active",
        f"{int(sum(bins)):,} tokens on which feature {number} of {plain(sae)} is active{rate}; largest activation {most:.3g}. {said}",
        f"SELECT least(floor(activation / {most:.6g} * {len(bins)}), {len(bins) - 1}) AS bin, count(*) FROM 'RUN/feature_positions/*.parquet'\n"
        f"WHERE sae = '{sql(sae)}' AND feature_id = {number} GROUP BY 1 ORDER BY 1",
    )


def document(run: Source, pick: Pick) -> Drawn:
    """Draw one sequence coloured by one feature: by default that of the picture `feature`, where it is strongest."""
    needs(run, "features")
    sae, feature = feature_shown(run, pick)
    places = positions_of_feature(run.path, sae, feature)
    if pick.record is None and len(places):
        sequence = int(places["sequence_id"][int(np.argmax(places["activation"].to_numpy()))].as_py())
    else:
        sequence = sequence_shown(run, pick)
    text = sequences_of(run.path, [sequence])[sequence]
    here = places.filter(pc.equal(places["sequence_id"], sequence))
    values = dict(zip(here["position"].to_pylist(), here["activation"].to_pylist(), strict=True))
    boxes = [box for box in text.boxes if not box.is_special]
    heat = [max((values.get(at, 0.0) for at in range(box.first, box.last + 1)), default=0.0) for box in boxes]
    most = max(places["activation"].to_pylist(), default=1.0)
    made = strip([("", [box.text for box in boxes], heat)], "activation", signed=False, top=most)
    return Drawn(
        made,
        f"Feature {feature} over sequence {sequence} (record {text.row['record_id']})",
        f"The first {min(len(boxes), MOST):,} of {len(boxes):,} tokens, special ones left out; activation of feature {feature} of {plain(sae)}, from 0 to its "
        "largest anywhere. One text, no interval.",
        f"SELECT position, activation FROM 'RUN/feature_positions/*.parquet'\n"
        f"WHERE sequence_id = {sequence} AND sae = '{sql(sae)}' AND feature_id = {feature} ORDER BY position",
    )


def feature_shown(run: Source, pick: Pick) -> tuple[str, int]:
    """Return the SAE and feature picked, else the feature of largest activation × √density among those not dense.

    Raises LackingError.
    """
    sae = sae_shown(run, pick)
    if pick.feature is not None:
        d_sae = d_sae_of(run, sae)
        if not 0 <= pick.feature < d_sae:
            raise LackingError(f"{sae} has no feature {pick.feature}.", f"they are numbered from 0 to {d_sae - 1}")
        return sae, pick.feature
    _, rows = stats_of(run, pick, ["feature_id", "density", "max"])
    density, most = (rows[name].to_numpy(zero_copy_only=False) for name in ("density", "max"))
    score = np.where((density > 0) & (density <= DENSE), np.nan_to_num(most) * np.sqrt(np.maximum(density, 0)), 0)
    return sae, int(rows["feature_id"][int(score.argmax())].as_py())


def histogram_of(run: Source, sae: str, number: int) -> tuple[list[int], float]:
    """Return counts of a feature's activations in equal bins from 0 to the largest, and the largest."""
    row = _row(run, sae, number)
    if row and row.get("histogram") and row.get("max"):
        return list(row["histogram"]), float(row["max"])
    values = positions_of_feature(run.path, sae, number)["activation"].to_numpy()
    if not len(values):
        raise LackingError(f"Feature {number} of {sae} is active on no token.", "the picture map shows those that are")
    most = float(values.max())
    return np.histogram(values, bins=BINS, range=(0, most))[0].tolist(), most


def _row(run: Source, sae: str, number: int) -> dict[str, Any] | None:
    if "feature_stats" not in run.tables:
        return None
    wanted = ("sae", "feature_id", "n_active", "density", "max", "histogram")
    table = run.table("feature_stats", [name for name in columns_of(run, "feature_stats") if name in wanted])
    here = table.filter(pc.and_(pc.equal(table["sae"], sae), pc.equal(table["feature_id"], number)))
    return next(iter(here.to_pylist()), None)
