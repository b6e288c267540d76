"""One record's features: of each of its tokens, and of the prompt's last one."""

import numpy as np
import plotly.graph_objects as go

from actkit.plots.picked import sae_shown, sequence_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs, sql
from actkit.plots.strip import strip
from actkit.plots.style import CATEGORIES, figure, plain
from actkit.plots.traces import feature_bars
from actkit.runs.by_sequence import rows_of_sequences, sequences_of

BARS = 15


def record(run: Source, pick: Pick) -> Drawn:
    """One record, prompt and response, coloured by its strongest feature there."""
    needs(run, "features")
    sae, sequence = sae_shown(run, pick), sequence_shown(run, pick)
    text = sequences_of(run.path, [sequence])[sequence]
    rows = rows_of_sequences(run.path, "features", [sequence])
    top = {row["position"]: row["feature_activations"][0] for row in rows if row["sae"] == sae and row["feature_ids"]}
    start = text.row["response_start"]
    parts: list[tuple[str, list[str], list[float | None]]] = []
    for name, here in (
        ("prompt", [box for box in text.boxes if start is None or box.last < start]),
        ("response", [box for box in text.boxes if start is not None and box.last >= start]),
    ):
        if here:
            parts.append((name, [box.text for box in here], [top.get(box.last) for box in here]))
    shown = [value for _, _, values in parts for value in values if value is not None]
    # The first token's features can be far larger than all others: the scale ends where nearly all do.
    limit = float(np.quantile(shown, 0.95)) if shown else 1.0
    made = _strips(parts, limit)
    return Drawn(
        made,
        f"Record {text.row['record_id']}: the strongest feature of each token",
        f"Features are stored of {len(shown):,} of its {text.row['n_tokens']:,} tokens; largest feature activation of {plain(sae)}, "
        "the scale ends at the 95th percentile. One text, so there is no interval.",
        f"SELECT position, feature_ids[1] AS feature_id, feature_activations[1] AS activation\n"
        f"FROM 'RUN/features/*.parquet' WHERE sequence_id = {sequence} AND sae = '{sql(sae)}' ORDER BY position",
    )


def last(run: Source, pick: Pick) -> Drawn:
    """The largest features of one record's last prompt token."""
    needs(run, "features")
    sae, sequence = sae_shown(run, pick), sequence_shown(run, pick)
    text = sequences_of(run.path, [sequence])[sequence]
    rows = [row for row in rows_of_sequences(run.path, "features", [sequence]) if row["sae"] == sae]
    start = text.row["response_start"]
    before = [row for row in rows if start is None or row["position"] < start]
    if not before or not before[-1]["feature_ids"]:
        raise LackingError("No feature is stored of this record's last prompt token.", "pick another record")
    row = before[-1]
    ids, values = row["feature_ids"][:BARS], row["feature_activations"][:BARS]
    made = figure(feature_bars(ids, values), height=120 + 20 * len(ids))
    made.update_xaxes(title="activation")
    made.update_yaxes(title="feature", **CATEGORIES)
    piece = next((box.text for box in text.boxes if box.first <= row["position"] <= box.last), "")
    return Drawn(
        made,
        f"Record {text.row['record_id']}: features of the prompt's last token, {plain(piece, 20)}",
        f"The {len(ids)} largest of {row['n_active']} active features of {plain(sae)} at position {row['position']}. One token, no interval.",
        f"SELECT feature_ids, feature_activations, n_active FROM 'RUN/features/*.parquet'\n"
        f"WHERE sequence_id = {sequence} AND position = {row['position']} AND sae = '{sql(sae)}'",
        opens="feature",
    )


def _strips(parts: list[tuple[str, list[str], list[float | None]]], limit: float) -> go.Figure:
    """Parts of a text, each below the one before."""
    figures = [strip([part], "activation", signed=False, top=limit) for part in parts]
    if len(figures) == 1:
        return figures[0]
    names, texts, values = [], [], []
    for drawn in figures:
        heat = drawn.data[0]
        names += list(drawn.layout.yaxis.ticktext)
        texts += list(heat.text)
        values += list(heat.z)
    made = figures[0]
    made.data[0].update(z=values, text=texts, y=list(range(len(names))))
    made.update_layout(height=90 + 26 * len(names))
    made.update_yaxes(tickvals=list(range(len(names))), ticktext=names)
    return made
