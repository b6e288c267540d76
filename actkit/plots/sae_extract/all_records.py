"""Features over the records of a run: which records share them, and whether they belong to prompts or responses."""

from collections import Counter

import numpy as np
import plotly.graph_objects as go

from actkit.plots.feature_rows import position_rows
from actkit.plots.picked import d_sae_of, sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source, sql
from actkit.plots.style import CATEGORIES, HEAT, MAX_POINTS, colour_bar, figure, plain, shares
from actkit.plots.traces import diagonal, points

FEATURES, RECORDS = 40, 60
NOWHERE = 1 << 40
"""A position after every token: where the response of a text begins that has none."""


def matrix(run: Source, pick: Pick) -> Drawn:
    """Records × features at the last prompt token: the features that most records share."""
    sae = sae_shown(run, pick)
    starts = {
        row["sequence_id"]: (row["response_start"], row["record_id"])
        for row in run.table("sequences", ["sequence_id", "response_start", "record_id"]).to_pylist()
    }
    found: dict[int, tuple[int, dict[int, float]]] = {}
    for rows in position_rows(run, sae):
        ends = np.cumsum(rows.lengths)
        for at, sequence in enumerate(rows.sequence_ids.tolist()):
            start, record_id = starts[sequence]
            # Positions ascend, so that the last one before the response stays.
            if (start is None or rows.positions[at] < start) and (len(found) < RECORDS or record_id in found):
                here = slice(ends[at] - rows.lengths[at], ends[at])
                pairs = zip(rows.feature_ids[here].tolist(), rows.activations[here].tolist(), strict=True)
                found[record_id] = (int(rows.positions[at]), dict(pairs))
    count = Counter(feature_id for _, features in found.values() for feature_id in features)
    top = sorted(count, key=lambda feature_id: (-count[feature_id], feature_id))[:FEATURES]
    if not top:
        raise LackingError("No feature is active at any record's last prompt token.", "another SAE or layer")
    records = sorted(found)
    values = [[found[record][1].get(feature) for feature in top] for record in records]
    heat = go.Heatmap(
        z=values,
        x=[str(feature_id) for feature_id in top],
        y=[str(record) for record in records],
        colorscale=HEAT,
        zmin=0,
        hovertemplate="record %{y}, feature %{x}: %{z:.3g}<extra></extra>",
        colorbar=colour_bar("activation"),
        xgap=1,
        ygap=1,
    )
    made = figure(heat, height=170 + 12 * len(records))
    made.update_xaxes(title="feature, by how many records have it", type="category", tickangle=-90, showgrid=False)
    made.update_yaxes(title="record", **CATEGORIES)
    return Drawn(
        made,
        "Features of the prompts' last tokens",
        f"{len(records):,} records × the {len(top)} features of {plain(sae)} that most of them share; empty: not active or not stored.",
        f"SELECT s.record_id, f.feature_ids, f.feature_activations FROM 'RUN/features/*.parquet' f JOIN 'RUN/sequences/*.parquet' s\n"
        f"USING (sequence_id) WHERE f.sae = '{sql(sae)}' AND f.position < coalesce(s.response_start, s.n_tokens)\n"
        "QUALIFY row_number() OVER (PARTITION BY s.record_id ORDER BY f.position DESC) = 1",
    )


def sides(run: Source, pick: Pick) -> Drawn:
    """How often each feature is active in prompts and in responses."""
    sae = sae_shown(run, pick)
    sequences = run.table("sequences", ["sequence_id", "response_start"]).to_pylist()
    starts = {row["sequence_id"]: row["response_start"] for row in sequences}
    d_sae = d_sae_of(run, sae)
    active, n = np.zeros((2, d_sae)), np.zeros(2)
    for rows in position_rows(run, sae):
        own = (starts[sequence_id] for sequence_id in rows.sequence_ids.tolist())
        begins = np.array([NOWHERE if start is None else start for start in own])
        side = (rows.positions >= begins).astype(np.int64)
        owner = np.repeat(np.arange(len(side)), rows.lengths)
        keep = ~rows.is_special
        for number in (0, 1):
            here = keep & (side == number)
            n[number] += here.sum()
            active[number] += np.bincount(rows.feature_ids[here[owner]], minlength=d_sae)
    if not n.all():
        raise LackingError("This run stores features of prompts alone.", "--save-all-tokens reads the responses too")
    rates = (active + 0.5) / (n[:, None] + 1)
    shown = np.flatnonzero(active.sum(axis=0) > 0)
    shown = shown[np.argsort(-active[:, shown].sum(axis=0), kind="stable")][:MAX_POINTS]
    ends = [float(rates[:, shown].min()), float(rates[:, shown].max())]
    hover = "feature %{customdata}: prompt %{x:.2p}, response %{y:.2p}<extra></extra>"
    marker = {"size": 5, "opacity": 0.75}
    features = points(rates[0, shown], rates[1, shown], hover, shown.tolist(), marker, name="a feature")
    made = figure(diagonal(ends), features, height=480)
    made.update_xaxes(title="share of prompt tokens", **shares(ends[0]))
    made.update_yaxes(title="share of response tokens", **shares(ends[0]))
    return Drawn(
        made,
        "Which features belong to prompts, which to responses",
        f"{len(shown):,} features of {plain(sae)} that are active at all, in {int(n[0]):,} prompt and {int(n[1]):,} response tokens (special "
        "ones left out; half a token added to each count, so that none is 0). No interval.",
        f"SELECT feature_id, count(*) FILTER (WHERE p.position < s.response_start) AS in_prompts,\n"
        f"       count(*) FILTER (WHERE p.position >= s.response_start) AS in_responses\n"
        f"FROM 'RUN/feature_positions/*.parquet' p JOIN 'RUN/sequences/*.parquet' s USING (sequence_id) WHERE sae = '{sql(sae)}' GROUP BY 1",
        opens="feature",
    )
