"""The vectors of a run as they are stored, a row group at a time: float16 stays float16.

A row group holds one hook point of one shard, so what is in memory is bounded by the shards, not by the run.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.runs.part import open_part
from actkit.runs.reader import Ints, parts

ROWS = 256
"""Rows decoded at a time."""
Vectors = npt.NDArray[Any]
"""[n, width] float32 or float16."""


@dataclass(frozen=True)
class Held:
    """One hook point of a run."""

    hook_point: str
    layer: int
    n: int
    """Rows: a sequence's position each."""
    width: int | None
    """Length of the vectors; None where they differ."""
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Block:
    """The rows of one hook point in one shard, by sequence and position."""

    hook_point: str
    sequence_ids: Ints
    positions: Ints
    vectors: Vectors

    def of(self, sequence_id: int) -> tuple[Ints, Vectors]:
        """Positions [k] and vectors [k, width] of one sequence; k is 0 where nothing of it was kept."""
        rows = span(self.sequence_ids, sequence_id)
        return self.positions[rows], self.vectors[rows]


def span(sequence_ids: Ints, sequence_id: int) -> slice:
    """The rows of one sequence in a column that is sorted by sequence."""
    first, last = np.searchsorted(sequence_ids, [sequence_id, sequence_id + 1])
    return slice(int(first), int(last))


def even(job: ExportJob) -> list[Held]:
    """The hook points whose vectors are equally long, by layer and name; of others a note is made.

    Raises RunError when there are none.
    """
    held = contents(job.run)
    for vectors in held:
        if vectors.width is None:
            job.note(f"{vectors.hook_point}: left out, its vectors differ in length")
    kept = [vectors for vectors in held if vectors.width is not None]
    if not kept:
        raise RunError(f"{job.run} has no activations that fit an array", "read its tables with pandas or polars")
    return kept


def contents(run: Path) -> list[Held]:
    """The hook points of the table `activations`, by layer and name."""
    found: dict[str, Held] = {}
    for part in parts(run, "activations"):
        with open_part(part) as file:
            for group in range(file.num_row_groups):
                name, layer = _names(file, group)
                if name is None:
                    continue
                kind = file.schema_arrow.field("activation").type
                here = Held(
                    name, layer, file.metadata.row_group(group).num_rows, _width(file, group, kind), _dtype(kind)
                )
                known = found.get(name, replace(here, n=0))
                width = here.width if here.width == known.width else None
                found[name] = replace(here, n=known.n + here.n, width=width)
    return sorted(found.values(), key=lambda vectors: (vectors.layer, vectors.hook_point))


def blocks(part: Path, wanted: Collection[str]) -> Iterator[Block]:
    """The rows of one part of `activations`, one hook point of `wanted` after the other; empty ones are left out."""
    with open_part(part) as file:
        for group in range(file.num_row_groups):
            name, _ = _names(file, group)
            if name is None or name not in wanted:
                continue
            table = file.read_row_group(group, columns=["sequence_id", "position"])
            ids, positions = table["sequence_id"].to_numpy(), table["position"].to_numpy()
            yield Block(name, ids, positions, _vectors(file, group))


def kept_rows(part: Path) -> tuple[Ints, Ints]:
    """[n] sequences and [n] positions of the rows of one part: the same for each of its hook points."""
    with open_part(part) as file:
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).num_rows:
                table = file.read_row_group(group, columns=["sequence_id", "position"])
                return table["sequence_id"].to_numpy(), table["position"].to_numpy()
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


def _names(file: pq.ParquetFile, group: int) -> tuple[str | None, int]:
    if not file.metadata.row_group(group).num_rows:
        return None, -1
    table = file.read_row_group(group, columns=["layer", "hook_point"])
    return table["hook_point"][0].as_py(), table["layer"][0].as_py()


def _vectors(file: pq.ParquetFile, group: int) -> Vectors:
    """[n, width]: filled bit by bit, since decoding a row group as a whole takes several times its size."""
    n = file.metadata.row_group(group).num_rows
    filled: Vectors | None = None
    at = 0
    for batch in file.iter_batches(batch_size=ROWS, row_groups=[group], columns=["activation"]):
        values = batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
        if filled is None:
            filled = np.empty((n, values.shape[1]), dtype=values.dtype)
        filled[at : at + len(values)] = values
        at += len(values)
    assert filled is not None
    assert at == n
    return filled


def _width(file: pq.ParquetFile, group: int, kind: pa.DataType) -> int | None:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    lists = file.read_row_group(group, columns=["activation"])["activation"].combine_chunks()
    widths = set(np.diff(lists.offsets).tolist())
    return int(widths.pop()) if len(widths) == 1 else None


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    return np.dtype(np.float16 if kind.value_type == pa.float16() else np.float32)
