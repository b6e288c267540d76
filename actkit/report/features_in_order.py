"""Every feature of one SAE with all of its positions, one feature in memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.analysis.feature_positions import feature_positions
from actkit.runs.part import open_part
from actkit.runs.reader import parts


def features_in_order(run: Path, sae: str, d_sae: int) -> Iterator[tuple[int, pa.Table]]:
    """Feature id, and its sequence_id, position and activation, for every feature that is active anywhere.

    From the table `feature_positions`; a run without it is put into that order in a temporary file.
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
                for group in range(file.num_row_groups):
                    named = file.metadata.row_group(group).column(file.schema_arrow.names.index("sae")).statistics
                    if named is None or named.min == sae:
                        yield file.read_row_group(group).drop_columns(["sae"])
        return
    table = "features" if parts(run, "features") else "pooled_features"
    with tempfile.TemporaryDirectory(prefix="actkit-") as scratch:
        for groups in feature_positions(run, sae, d_sae, Path(scratch), table):
            for rows in groups.values():
                yield rows.drop_columns(["sae"])
