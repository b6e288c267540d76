"""One SAE feature of a finished run: every position at which it is active.

`feature_positions` has them by feature. The metadata of its row groups says which features they hold, so that one
feature is read without the others. A run without that table is read whole, part by part. A run that has pooled features
alone gives the position at which the feature is strongest in each text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.part import open_part
from actkit.runs.reader import active_in, features_table, parts, sae_groups
from actkit.schemas import arrow_schema

COLUMNS = ("sequence_id", "position", "activation")


def positions_of_feature(run: Path, sae: str, feature: int, sequences: Sequence[int] | None = None) -> pa.Table:
    """sequence_id, position and activation of a feature, in that order; empty where it is nowhere active.

    With `sequences` those of some sequences at least: what has none of them is not read.
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
    about = part.stat()
    groups = _groups(part, about.st_mtime_ns, about.st_size)
    chosen = [group for group in groups if group.first <= (sae, feature) <= group.last and group.has_any(wanted)]
    if not chosen:
        return
    with open_part(part) as file:
        for group in chosen:
            alone = group.first == group.last
            rows = file.read_row_group(group.number, columns=[*COLUMNS, *(() if alone else ("feature_id",))])
            yield (rows if alone else rows.filter(pc.equal(rows["feature_id"], feature))).select(COLUMNS)


@dataclass(frozen=True)
class _Group:
    """A row group of `feature_positions`, as the part's metadata has it; it is of one SAE."""

    number: int
    first: tuple[str, int]
    last: tuple[str, int]
    """SAE and feature_id of its first and last rows."""
    sequences: tuple[int, int]

    def has_any(self, wanted: npt.NDArray[np.int64] | None) -> bool:
        """Whether one of some sequences, ascending, can be here."""
        if wanted is None:
            return True
        at = int(np.searchsorted(wanted, self.sequences[0]))
        return at < len(wanted) and bool(wanted[at] <= self.sequences[1])


@lru_cache(maxsize=1 << 12)
def _groups(part: Path, _changed: int, _bytes: int) -> tuple[_Group, ...]:
    with open_part(part) as file:
        names = file.schema_arrow.names
        found = []
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            sae, ids, sequences = (
                group.column(names.index(name)).statistics for name in ("sae", "feature_id", "sequence_id")
            )
            first, last = (str(sae.min), int(ids.min)), (str(sae.max), int(ids.max))
            found.append(_Group(number, first, last, (int(sequences.min), int(sequences.max))))
    return tuple(found)


def _searched(table: pa.Table, feature: int) -> pa.Table:
    lengths, ids, values = active_in(table)
    at = np.flatnonzero(ids == feature)
    owner = np.searchsorted(np.cumsum(lengths), at, side="right")
    if "position" in table.column_names:
        positions = table["position"].to_numpy()[owner]
    else:  # of pooled features: where each is strongest
        positions = pc.list_flatten(table["feature_positions"]).to_numpy()[at]
    columns = {"sequence_id": table["sequence_id"].to_numpy()[owner], "position": positions, "activation": values[at]}
    return pa.table(columns)
