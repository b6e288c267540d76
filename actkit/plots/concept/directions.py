"""Where the directions of a concept agree: between methods and layers, and with features of an SAE."""

from typing import Any

import numpy as np

from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs
from actkit.plots.style import CATEGORIES, label, panels, plain
from actkit.plots.traces import cosine_map, feature_bars

NEAREST = 12


def directions(run: Source, pick: Pick) -> Drawn:
    """Cosines between methods and layers, and the nearest features."""
    needs(run, "directions")
    rows = [row for row in run.table("directions").to_pylist() if row["direction"]]
    width = len(rows[0]["direction"]) if rows else 0
    rows = sorted(
        (row for row in rows if len(row["direction"]) == width), key=lambda row: (row["method"], row["layer"])
    )
    if not rows:
        raise LackingError("This run has no direction.", "two stems at least")
    vectors = np.array([row["direction"] for row in rows])
    names = [f"{label(row['method'])} {row['layer']}" for row in rows]
    near = _nearest(run, pick)
    made = panels(2 if near else 1, widths=[0.66, 0.34] if near else None, height=520)
    made.add_trace(cosine_map(vectors, names), row=1, col=1)
    made.update_xaxes(tickangle=-60, type="category", showgrid=False, row=1, col=1)
    made.update_yaxes(**CATEGORIES, row=1, col=1)
    if near:
        ids, cosines = ([row[name] for row in near] for name in ("feature_id", "cosine"))
        made.add_trace(feature_bars(ids, cosines, showlegend=False), row=1, col=2)
        made.update_xaxes(title="cosine with its decoder row", row=1, col=2)
        made.update_yaxes(title="feature", **CATEGORIES, row=1, col=2)
    said = (
        f", and the {len(near)} features nearest to {plain(near[0]['method'])} at layer {near[0]['layer']}"
        if near
        else ""
    )
    return Drawn(
        made,
        "Do methods and layers find the same direction?",
        f"Cosines of the {len(rows)} unit directions{said}; two random directions in {width} dimensions have a cosine within "
        f"±{1.96 / width**0.5:.2f} in 95 of 100 cases.",
        "SELECT layer, method, direction FROM 'RUN/directions/*.parquet' ORDER BY method, layer",
        opens="feature",
    )


def _nearest(run: Source, pick: Pick) -> list[dict[str, Any]]:
    if "direction_features" not in run.tables:
        return []
    rows: list[dict[str, Any]] = run.table("direction_features").to_pylist()
    method = run.facts["concept"]["method"]
    here = [row for row in rows if row["method"] == method and pick.layer in (None, row["layer"])]
    if not here:
        return []
    first = here[0]
    same = [row for row in here if row["sae"] == first["sae"] and row["layer"] == first["layer"]]
    return sorted(same, key=lambda row: row["rank"])[:NEAREST]
