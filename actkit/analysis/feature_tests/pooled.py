"""The pooled features of a run by column, from its table `pooled_features`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.columns import Part
from actkit.analysis.feature_tests.column_file import ColumnFile
from actkit.runs.reader import Ints, parts, places, sae_groups

READ = ("sequence_id", "feature_ids", "feature_activations")


def pooled_columns(run: Path, sae: str, d_sae: int, sequence_ids: Ints) -> ColumnFile:
    """[n, d_sae] the pooled features of these sequences [n] (ids ascending), in a temporary file beside the tables.

    Raises ValueError for a table that is no such matrix, WriteError where the disk is full.
    """

    def rows() -> Iterator[Part]:
        for part in parts(run, "pooled_features"):
            for table in sae_groups(part, sae, READ):
                at, wanted = places(sequence_ids, table["sequence_id"].to_numpy())
                table = table.filter(pa.array(wanted))
                lengths = pc.list_value_length(table["feature_ids"]).to_numpy()
                yield (
                    np.repeat(at[wanted], lengths),
                    pc.list_flatten(table["feature_ids"]).to_numpy(),
                    pc.list_flatten(table["feature_activations"]).to_numpy(),
                )

    return ColumnFile(rows, len(sequence_ids), d_sae, run)
