"""The order in which the features of an SAE are given pages: the densest first, or those at either end of a ranking."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc

from actkit.report.text_views import Scale
from actkit.runs.run import Run


def ordered_features(run: Run, scale: Scale) -> tuple[list[int], list[list[Any]]]:
    """The active features in that order, and their rows for the page's table: see `run_blocks.Page.features`."""
    rows: dict[int, list[Any]] = {}
    for feature in np.flatnonzero(scale.maxima > 0).tolist():
        rows[feature] = [feature, None, None, float(scale.maxima[feature]), None, None, None, None]
    for feature, n, density in _rows(run, "feature_stats", scale.sae, "n_active", "density"):
        if feature in rows and n:
            rows[feature][1:3] = [n, density]
    order = sorted(rows, key=lambda feature: (-(rows[feature][2] or 0), feature))
    ranked = list(_rows(run, "feature_scores", scale.sae, "rank", "auroc", "q_value"))
    for feature, *figures in ranked:
        if feature in rows:
            rows[feature][5:8] = figures
    if ranked:
        far = {feature: abs(auroc - 0.5) for feature, _, auroc, _ in ranked}
        order = sorted(rows, key=lambda feature: (-far.get(feature, -1), feature))
    return order, [rows[feature] for feature in order]


def _rows(run: Run, name: str, sae: str, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Feature and these columns of one SAE's rows in a table; none where the run does not have it."""
    if name in run.tables:
        table = run.table(name, ["sae", "feature_id", *columns])
        own = table.filter(pc.equal(table["sae"], sae))
        yield from zip(*(own[column].to_pylist() for column in ("feature_id", *columns)), strict=True)
