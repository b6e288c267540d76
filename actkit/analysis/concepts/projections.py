"""The table `projections`: every stored token along the directions, so that a text can be coloured by one.

At the layer that is chosen for each method; one part of `activations` in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.runs.part import read_part
from actkit.runs.reader import parts, rows_of
from actkit.schemas import arrow_schema


def projections(run: Path, chosen: Mapping[str, Mapping[str, Any]]) -> Iterator[pa.Table]:
    """The table, a table a shard; `chosen` are method → row of `direction_scores` of its layer."""
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
