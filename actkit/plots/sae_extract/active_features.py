"""How many features are active, by position and role."""

import numpy as np

from actkit.plots.feature_rows import position_rows
from actkit.plots.picked import sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source, sql
from actkit.plots.style import COLOURS, figure, label, plain, wholes
from actkit.plots.traces import band, line

POSITIONS = 128
FEWEST = 5
"""Tokens of a position below which it is left out: its quartiles would be those tokens themselves."""


def l0(run: Source, pick: Pick) -> Drawn:
    """Active features by position and role."""
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
