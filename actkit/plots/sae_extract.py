"""Pictures of SAE features of prompts and responses."""

from collections import Counter
from typing import Any

import numpy as np

from actkit.plots.feature_rows import position_rows
from actkit.plots.picture import (
    Drawn,
    LackingError,
    Pick,
    Picture,
    Source,
    d_sae_of,
    needs,
    sae_shown,
    sequence_shown,
    sql,
)
from actkit.plots.strip import strip
from actkit.plots.style import CATEGORIES, COLOURS, MAX_POINTS, colour_bar, figure, label, plain, shares, wholes
from actkit.plots.traces import band, diagonal, feature_bars, heat_map, line, points
from actkit.runs.by_sequence import TokenizedText, rows_of_sequences, sequences_of

POSITIONS = 128
FEWEST = 5
"""A position with fewer tokens is left out, unless all have fewer: its quartiles would be those tokens themselves."""
FEATURES, RECORDS = 40, 60
NOWHERE = 1 << 40
"""A position after every token: the response's beginning in a text without a response."""
BARS = 15


def l0(run: Source, pick: Pick) -> Drawn:
    """Draw active features by position and role."""
    sae = sae_shown(run, pick)
    counts: dict[str, dict[int, list[int]]] = {}
    for rows in position_rows(run, sae, with_features=False):
        for at, position in enumerate(rows.positions.tolist()):
            if position < POSITIONS and not rows.is_special[at]:
                role = rows.roles[at] or "text"
                counts.setdefault(role, {}).setdefault(position, []).append(int(rows.n_active[at]))
    if not counts:
        raise LackingError("Only special tokens are stored.", "--save-all-tokens reads the others too")
    made, n = figure(), 0
    for number, (role, whole) in enumerate(sorted(counts.items())):
        by = {at: values for at, values in whole.items() if len(values) >= FEWEST} or whole
        x = sorted(by)
        n += sum(map(len, by.values()))
        low, mid, high = ([float(np.quantile(by[at], q)) for at in x] for q in (0.25, 0.5, 0.75))
        made.add_traces(band(x, low, high, f"{label(role)}: quartiles", COLOURS[number % len(COLOURS)]))
        made.add_trace(line(x, mid, f"{label(role)}: median", number))
    made.update_xaxes(title="position", **wholes(at for by in counts.values() for at in by))
    made.update_yaxes(title="active features (L0)", rangemode="tozero")
    return Drawn(
        made,
        "Active features by position",
        f"Median and quartiles over {n:,} tokens before position {POSITIONS}, special ones left out, of how many features of {plain(sae)} "
        "are active, before the cut to top_k or a threshold.",
        f"SELECT position, role, quantile_cont(n_active, [.25, .5, .75]) AS l0, count(*) AS n FROM 'RUN/features/*.parquet'\n"
        f"JOIN 'RUN/tokens/*.parquet' USING (sequence_id, position) WHERE sae = '{sql(sae)}' AND NOT is_special GROUP BY ALL ORDER BY ALL",
    )


def matrix(run: Source, pick: Pick) -> Drawn:
    """Draw records × features at the last prompt token: the features that most records share."""
    sae = sae_shown(run, pick)
    sequences = run.table("sequences", ["sequence_id", "response_start", "record_id"]).to_pylist()
    starts = {row["sequence_id"]: (row["response_start"], row["record_id"]) for row in sequences}
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
    x, y, hover = list(map(str, top)), list(map(str, records)), "record %{y}, feature %{x}: %{z:.3g}"
    heat = heat_map(values, x, y, hover, colour_bar("activation"), zmin=0, xgap=1, ygap=1)
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
    """Draw how often each feature is active in prompts and in responses."""
    sae = sae_shown(run, pick)
    sequences = run.table("sequences", ["sequence_id", "response_start"]).to_pylist()
    starts = {
        row["sequence_id"]: NOWHERE if row["response_start"] is None else row["response_start"] for row in sequences
    }
    d_sae = d_sae_of(run, sae)
    active, n = np.zeros((2, d_sae)), np.zeros(2)
    for rows in position_rows(run, sae):
        begins = np.array([starts[sequence_id] for sequence_id in rows.sequence_ids.tolist()])
        in_response = rows.positions >= begins
        for number, side in enumerate((~in_response, in_response)):
            here = side & ~rows.is_special
            n[number] += here.sum()
            active[number] += rows.counts(here, d_sae)
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


def record(run: Source, pick: Pick) -> Drawn:
    """Draw one record, prompt and response, each token coloured by the activation of its strongest feature."""
    sae, sequence, text, rows = _of_record(run, pick)
    top = {row["position"]: row["feature_activations"][0] for row in rows if row["feature_ids"]}
    start = text.row["response_start"]
    sides = {
        "prompt": [box for box in text.boxes if start is None or box.last < start],
        "response": [box for box in text.boxes if start is not None and box.last >= start],
    }
    parts = [(name, [box.text for box in of], [top.get(box.last) for box in of]) for name, of in sides.items() if of]
    shown = [value for _, _, values in parts for value in values if value is not None]
    # The first token's features can be far larger than all others: the scale ends where nearly all do.
    limit = float(np.quantile(shown, 0.95)) if shown else 1.0
    made = strip(parts, "activation", signed=False, top=limit, aligned=False)
    return Drawn(
        made,
        f"Record {text.row['record_id']}: the strongest feature of each token",
        f"Features are stored of {len(shown):,} of its {text.row['n_tokens']:,} tokens; largest feature activation of {plain(sae)}, "
        "the scale ends at the 95th percentile. One text, so there is no interval.",
        f"SELECT position, feature_ids[1] AS feature_id, feature_activations[1] AS activation\n"
        f"FROM 'RUN/features/*.parquet' WHERE sequence_id = {sequence} AND sae = '{sql(sae)}' ORDER BY position",
    )


def last(run: Source, pick: Pick) -> Drawn:
    """Draw the largest features of one record's last prompt token."""
    sae, sequence, text, rows = _of_record(run, pick)
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


def _of_record(run: Source, pick: Pick) -> tuple[str, int, TokenizedText, list[dict[str, Any]]]:
    """Return the SAE and sequence that are shown, the sequence's text, and the SAE's rows of `features` there."""
    needs(run, "features")
    sae, sequence = sae_shown(run, pick), sequence_shown(run, pick)
    rows = rows_of_sequences(run.path, "features", [sequence])
    text = sequences_of(run.path, [sequence])[sequence]
    return sae, sequence, text, [row for row in rows if row["sae"] == sae]


PICTURES = (
    Picture("record", "one record, token by token", record),
    Picture("last", "features of the last prompt token", last),
    Picture("matrix", "records × features", matrix),
    Picture("sides", "features of prompts against features of responses", sides),
    Picture("l0", "active features by position and role", l0),
)
