"""The hook points of a run whose vectors fit an array, and their rows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.runs.part import open_part
from actkit.runs.reader import Ints, parts


@dataclass(frozen=True)
class Held:
    """One hook point of a run."""

    hook_point: str
    layer: int
    n: int
    """Rows, one a position of a sequence."""
    width: int | None
    """Length of the vectors; None where they differ."""
    dtype: np.dtype[Any]


def even(job: ExportJob) -> list[Held]:
    """Return the hook points whose vectors are equally long, by layer and name. A note names the others.

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
    """Return the hook points of the table `activations`, by layer and name."""
    found: dict[str, Held] = {}
    for part in parts(run, "activations"):
        with open_part(part) as file:
            kind = file.schema_arrow.field("activation").type
            dtype = np.dtype(kind.value_type.to_pandas_dtype())
            for group in range(file.num_row_groups):
                for first in file.read_row_group(group, columns=["layer", "hook_point"]).slice(0, 1).to_pylist():
                    name, n = first["hook_point"], file.metadata.row_group(group).num_rows
                    here = Held(name, first["layer"], n, _width(file, group, kind), dtype)
                    known = found.get(name, replace(here, n=0))
                    width = here.width if here.width == known.width else None
                    found[name] = replace(here, n=known.n + here.n, width=width)
    return sorted(found.values(), key=lambda vectors: (vectors.layer, vectors.hook_point))


def kept_rows(part: Path) -> tuple[Ints, Ints]:
    """Return sequences [n] and positions [n] of the rows of one part: the same for each of its hook points."""
    with open_part(part) as file:
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).num_rows:
                table = file.read_row_group(group, columns=["sequence_id", "position"])
                return table["sequence_id"].to_numpy(), table["position"].to_numpy()
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


def _width(file: pq.ParquetFile, group: int, kind: pa.DataType) -> int | None:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    lengths = pc.unique(pc.list_value_length(file.read_row_group(group, columns=["activation"])["activation"]))
    return int(lengths[0].as_py()) if len(lengths) == 1 else None
