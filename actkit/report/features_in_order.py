"""The features of one SAE in order: by number, with one feature's positions in memory; or as pages list them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.feature_positions import feature_positions
from actkit.report.text_views import Scale
from actkit.runs.part import open_part, ranges_in
from actkit.runs.reader import features_table, parts
from actkit.runs.run import Run


def features_in_order(run: Path, sae: str, d_sae: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield feature id, and its sequence_id, position and activation, for every feature that is active anywhere.

    They come from the table `feature_positions`. A run without it is sorted into a temporary file.
    """
    waiting: list[pa.Table] = []
    last = -1
    for rows in _tables(run, sae, d_sae):
        ids = rows["feature_id"].to_numpy()
        starts = np.flatnonzero(np.diff(ids, prepend=-1)).tolist()
        for begin, end in zip(starts, [*starts[1:], len(ids)][: len(starts)], strict=True):
            feature = int(ids[begin])
            if feature != last and waiting:
                yield last, pa.concat_tables(waiting)
                waiting = []
            last = feature
            waiting.append(rows.slice(begin, end - begin))
    if waiting:
        yield last, pa.concat_tables(waiting)


def _tables(run: Path, sae: str, d_sae: int) -> Iterator[pa.Table]:
    if parts(run, "feature_positions"):
        for part in parts(run, "feature_positions"):
            with open_part(part) as file:
                for group, ends in enumerate(ranges_in(file, "sae")):
                    if ends is None or ends[0] == sae:
                        yield file.read_row_group(group).drop_columns(["sae"])
        return
    with tempfile.TemporaryDirectory(prefix="actkit-") as scratch:
        for groups in feature_positions(run, sae, d_sae, Path(scratch), features_table(run)):
            for rows in groups.values():
                yield rows.drop_columns(["sae"])


def ordered_features(run: Run, scale: Scale) -> tuple[list[int], list[list[Any]]]:
    """The active features as pages list them, and their rows for the page's table: see `run_blocks.Page.features`.

    In a ranking, features with an AUROC far from 0.5 come first; else the densest.
    """
    rows: dict[int, list[Any]] = {}
    for feature in np.flatnonzero(scale.maxima > 0).tolist():
        rows[feature] = [feature, None, None, float(scale.maxima[feature]), None, None, None, None]
    for feature, n, density in rows_of_sae(run, "feature_stats", scale.sae, "n_active", "density"):
        if feature in rows and n:
            rows[feature][1:3] = [n, density]
    order = sorted(rows, key=lambda feature: (-(rows[feature][2] or 0), feature))
    ranked = list(rows_of_sae(run, "feature_scores", scale.sae, "rank", "auroc", "q_value"))
    for feature, *figures in ranked:
        if feature in rows:
            rows[feature][5:8] = figures
    if ranked:
        far = {feature: abs(auroc - 0.5) for feature, _, auroc, _ in ranked}
        order = sorted(rows, key=lambda feature: (-far.get(feature, -1), feature))
    return order, [rows[feature] for feature in order]


def rows_of_sae(run: Run, name: str, sae: str, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield feature id and `columns` of one SAE's rows in a table; nothing where the run lacks the table."""
    if name in run.tables:
        table = run.table(name, ["sae", "feature_id", *columns])
        own = table.filter(pc.equal(table["sae"], sae))
        yield from zip(*(own[column].to_pylist() for column in ("feature_id", *columns)), strict=True)
