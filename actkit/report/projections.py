"""Projections of tokens on a direction, by which pages colour texts of runs without features.

They come from the table `projections` where the run has it. Otherwise stored positions are projected: preference pairs
on the mean of chosen − rejected of the other half of the pairs, contrast pairs on the chosen direction.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from actkit.plots.concept.sides import chosen, direction_of
from actkit.plots.dpo.pair_vectors import differences_at, halves, layer_of
from actkit.plots.picture import LackingError, Pick
from actkit.report.text_views import Projection, Values
from actkit.runs.part import read_part
from actkit.runs.reader import part_of, parts, rows_of
from actkit.runs.run import Run


def projections_of(run: Run) -> list[Projection]:
    """The directions by which texts of a run can be coloured; an empty list where it has none."""
    if "projections" in run.tables:
        return _stored(run)
    try:
        if "pair_diffs" in run.tables:
            return [_of_pairs(run)]
        if "directions" in run.tables and "activations" in run.tables:
            return [_of_concept(run)]
    except LackingError:
        return []
    return []


def _stored(run: Run) -> list[Projection]:
    first = read_part(parts(run.path, "projections")[0], ["layer", "method"])
    best = _chosen(run)
    kinds = sorted({(row["method"], row["layer"]) for row in first.to_pylist()}, key=lambda kind: (kind != best, kind))

    def reads(method: str, layer: int) -> Callable[[str], Values]:
        def read(part: str) -> Values:
            if not (run.path / "projections" / part).exists():
                return {}
            rows = part_of(run.path, "projections", Path(part))
            rows = rows.filter(pc.and_(pc.equal(rows["method"], method), pc.equal(rows["layer"], layer)))
            return _values(rows["sequence_id"].to_numpy(), rows["position"].to_numpy(), rows["value"].to_numpy())

        return read

    return [Projection(f"projection on {method}, layer {layer}", reads(method, layer)) for method, layer in kinds]


def _chosen(run: Run) -> tuple[str, int] | None:
    """Method and layer of the direction that the run chose; None where it chose none."""
    try:
        row = chosen(run, Pick())
    except LackingError:
        return None
    return row["method"], row["layer"]


def _of_pairs(run: Run) -> Projection:
    layer, point = layer_of(run, Pick())
    records, differences = differences_at(run, point)
    directions = np.stack(halves(records, differences))

    def read(part: str) -> Values:
        of = part_of(run.path, "sequences", Path(part), ["sequence_id", "record_id"])
        half = {row["sequence_id"]: row["record_id"] % 2 for row in of.to_pylist()}
        return _read(run.path, part, point, lambda ids: directions[[half[sequence_id] for sequence_id in ids]])

    return Projection(f"projection on the mean of chosen − rejected, layer {layer}", read)


def _of_concept(run: Run) -> Projection:
    row = chosen(run, Pick())
    direction = direction_of(run, row)
    return Projection(
        f"projection on {row['method']}, layer {row['layer']}",
        lambda part: _read(run.path, part, row["hook_point"], lambda _ids: direction[None]),
    )


def _read(run: Path, part: str, point: str, direction_of: Callable[[list[int]], Any]) -> Values:
    found: dict[tuple[int, int], float] = {}
    path = run / "activations" / part
    for rows in rows_of(path, point) if path.exists() else ():
        directions = direction_of(rows.sequence_ids.tolist())
        values = (rows.activations.astype(np.float64) * directions).sum(axis=1)
        found |= _values(rows.sequence_ids, rows.positions, values)
    return found


def _values(sequences: Any, positions: Any, values: Any) -> Values:
    places = zip(sequences.tolist(), positions.tolist(), strict=True)
    return dict(zip(places, (float(f"{value:.4g}") for value in values.tolist()), strict=True))
