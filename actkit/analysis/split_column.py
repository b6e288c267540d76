"""`sequences.split`: the texts that statistics were fitted on, those that chose, and those that are reported on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.part import read_part
from actkit.runs.reader import Ints, parts, places
from actkit.schemas import arrow_schema

HELD_OUT = ("held_out", "test")
"""Splits whose texts chose nothing."""


def without_split(table: pa.Table) -> pa.Table:
    """Return rows of `sequences` with nulls as split, as they are before anything is split."""
    place = table.schema.get_field_index("split")
    return table.set_column(place, "split", pa.nulls(len(table), pa.string())).cast(arrow_schema("sequences"))


def with_split(
    run: Path, sequence_ids: Ints, names: Sequence[str], part_of: npt.NDArray[np.integer]
) -> Iterator[pa.Table]:
    """Yield the table `sequences` with its column `split`, part by part.

    `part_of` [n] is the index in `names` of each sequence's split (`sequence_ids` in any order); others get null.
    """
    order = np.argsort(sequence_ids, kind="stable")
    ids, numbers = sequence_ids[order], part_of[order]
    for path in parts(run, "sequences"):
        table = read_part(path)
        at, there = places(ids, table["sequence_id"].to_numpy())
        taken = pa.array(numbers[np.where(there, at, 0)] if len(numbers) else at, mask=~there)
        column = pa.array(list(names), pa.string()).take(taken)
        place = table.schema.get_field_index("split")
        yield table.set_column(place, "split", column).cast(arrow_schema("sequences"))
