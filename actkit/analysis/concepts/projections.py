"""Tables made from finished directions: `projections` of tokens along them, and `direction_features` of SAEs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.runs.part import read_part
from actkit.runs.reader import parts, rows_of, rows_of_table
from actkit.schemas import arrow_schema


def projections(run: Path, chosen: Mapping[str, Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Yield `projections`, a table a shard; `chosen`: method → the row of `direction_scores` of its chosen layer."""
    directions = {
        (row["hook_point"], row["method"]): np.array(row["direction"])
        for part in parts(run, "directions")
        for row in read_part(part).to_pylist()
    }
    wanted = [(method, directions.get((row["hook_point"], method)), row) for method, row in chosen.items()]
    schema = arrow_schema("projections")
    for part in parts(run, "activations"):
        found = [schema.empty_table()]
        for method, direction, row in wanted:
            if direction is None:
                continue
            for rows in rows_of(part, row["hook_point"]):
                n = len(rows.positions)
                columns = {
                    "sequence_id": rows.sequence_ids,
                    "position": rows.positions,
                    "layer": np.full(n, rows.layer, dtype=np.int32),
                    "hook_point": [rows.hook_point] * n,
                    "method": [method] * n,
                    "value": rows.activations.astype(np.float64) @ direction,
                }
                found.append(
                    pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
                )
        yield pa.concat_tables(found)


NEAREST = 20
"""Features written for each direction."""


def direction_features(run: Path, saes: Sequence[Sae]) -> pa.Table:
    """For each SAE the features whose decoder rows are closest to the directions at its hook point."""
    directions = rows_of_table(run, "directions")
    rows = []
    for sae in saes:
        here = [row for row in directions if row["hook_point"] == str(sae.hook_point)]
        if not here or sae.decoder is None:
            continue
        cosines = sae.cosines(torch.tensor([row["direction"] for row in here])).float().cpu()
        for row, of_row in zip(here, cosines, strict=True):
            best = of_row.topk(min(NEAREST, sae.d_sae))
            for rank, (value, feature) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True), 1):
                place = {"sae": sae.name, "layer": row["layer"], "hook_point": row["hook_point"]}
                found = {"rank": rank, "feature_id": feature, "cosine": value, "url": sae.feature_url(feature)}
                rows.append({**place, "method": row["method"], **found})
    return pa.Table.from_pylist(rows, schema=arrow_schema("direction_features"))
