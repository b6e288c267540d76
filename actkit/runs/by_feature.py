"""One SAE feature of a finished run: every position at which it is active.

`feature_positions` has them by feature, in row groups whose metadata says which features they hold, so that one feature
is read without the others. A run without that table is read whole, part by part; of one
that has pooled features alone it is where each is strongest in a text.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.runs.reader import parts, sae_groups
from actkit.schemas import arrow_schema

COLUMNS = ("sequence_id", "position", "activation")


def positions_of_feature(run: Path, sae: str, feature: int) -> pa.Table:
    """sequence_id, position and activation of a feature, in that order; empty where it is nowhere active."""
    if parts(run, "feature_positions"):
        found = [_of_part(part, sae, feature) for part in parts(run, "feature_positions")]
    else:
        table = "features" if parts(run, "features") else "pooled_features"
        found = [_searched(rows, feature) for part in parts(run, table) for rows in sae_groups(part, sae)]
    schema = pa.schema([field for field in arrow_schema("feature_positions") if field.name in COLUMNS])
    return pa.concat_tables(
        [schema.empty_table(), *(one.select(COLUMNS).cast(schema) for one in found)]
    ).combine_chunks()


def _of_part(part: Path, sae: str, feature: int) -> pa.Table:
    with pq.ParquetFile(part) as file:
        about = part.stat()
        groups = [
            number
            for number, (first, last) in enumerate(_ends(part, about.st_mtime_ns, about.st_size))
            if first <= (sae, feature) <= last
        ]
        if not groups:
            return file.schema_arrow.empty_table()
        table = file.read_row_groups(groups)
    return table.filter(pc.and_(pc.equal(table["feature_id"], feature), pc.equal(table["sae"], sae)))


@lru_cache(maxsize=1 << 12)
def _ends(part: Path, _changed: int, _bytes: int) -> tuple[tuple[tuple[str, int], tuple[str, int]], ...]:
    """First and last (sae, feature_id) of each row group; a row group is of one SAE."""
    with pq.ParquetFile(part) as file:
        names = file.schema_arrow.names
        found = []
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            sae, ids = (group.column(names.index(name)).statistics for name in ("sae", "feature_id"))
            found.append(((str(sae.min), int(ids.min)), (str(sae.max), int(ids.max))))
    return tuple(found)


def _searched(table: pa.Table, feature: int) -> pa.Table:
    lengths = pc.list_value_length(table["feature_ids"]).to_numpy()
    ids = pc.list_flatten(table["feature_ids"]).to_numpy()
    values = pc.list_flatten(table["feature_activations"]).to_numpy()
    at = np.flatnonzero(ids == feature)
    owner = np.searchsorted(np.cumsum(lengths), at, side="right")
    if "position" in table.column_names:
        positions = table["position"].to_numpy()[owner]
    else:  # of pooled features: where each is strongest
        positions = pc.list_flatten(table["feature_positions"]).to_numpy()[at]
    columns = {"sequence_id": table["sequence_id"].to_numpy()[owner], "position": positions, "activation": values[at]}
    return pa.table(columns)
