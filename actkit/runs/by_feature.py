"""Read every position of a finished run at which one SAE feature is active.

The table `feature_positions` is sorted by feature, and the metadata of its row groups has their ranges of features, so
other features are not read. In a run without that table, all features are read, part by part. Where only pooled
features are stored, the result has the position of each text at which the feature is strongest.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.by_sequence import any_within
from actkit.runs.part import open_part, ranges_of
from actkit.runs.reader import active_in, features_table, parts, sae_groups
from actkit.schemas import arrow_schema

COLUMNS = ("sequence_id", "position", "activation")


def positions_of_feature(run: Path, sae: str, feature: int, sequences: Sequence[int] | None = None) -> pa.Table:
    """Return sequence_id, position and activation of a feature, in that order; empty where it is nowhere active.

    With `sequences`, row groups of `feature_positions` without any of them are skipped; other rows may come too.
    """
    wanted = None if sequences is None else np.unique(np.array(sequences, dtype=np.int64))
    if parts(run, "feature_positions"):
        found = [table for part in parts(run, "feature_positions") for table in _of_part(part, sae, feature, wanted)]
    else:
        stored = parts(run, features_table(run))
        found = [_searched(rows, feature) for part in stored for rows in sae_groups(part, sae)]
    schema = pa.schema([field for field in arrow_schema("feature_positions") if field.name in COLUMNS])
    return pa.concat_tables(
        [schema.empty_table(), *(table.select(COLUMNS).cast(schema) for table in found)]
    ).combine_chunks()


def _of_part(part: Path, sae: str, feature: int, wanted: npt.NDArray[np.int64] | None) -> Iterator[pa.Table]:
    chosen = []  # row groups, each of one SAE, and whether all of its rows are of the feature
    for group, (saes, ids, sequences) in enumerate(ranges_of(part, "sae", "feature_id", "sequence_id")):
        if saes is None or ids is None or sequences is None:  # the row group is empty
            continue
        has_any = wanted is None or any_within(wanted, *sequences)
        if has_any and saes[0] == sae and ids[0] <= feature <= ids[1]:
            chosen.append((group, ids[0] == ids[1]))
    if not chosen:
        return
    with open_part(part) as file:
        for group, alone in chosen:
            rows = file.read_row_group(group, columns=[*COLUMNS, *(() if alone else ("feature_id",))])
            yield (rows if alone else rows.filter(pc.equal(rows["feature_id"], feature))).select(COLUMNS)


def _searched(table: pa.Table, feature: int) -> pa.Table:
    lengths, ids, values = active_in(table)
    at = np.flatnonzero(ids == feature)
    owner = np.searchsorted(np.cumsum(lengths), at, side="right")
    if "position" in table.column_names:
        positions = table["position"].to_numpy()[owner]
    else:  # pooled: the position at which each feature is strongest
        positions = pc.list_flatten(table["feature_positions"]).to_numpy()[at]
    columns = {"sequence_id": table["sequence_id"].to_numpy()[owner], "position": positions, "activation": values[at]}
    return pa.table(columns)
