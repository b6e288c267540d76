"""The concept directions of a run, chosen by method, for the formats that hold one vector a hook point."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.errors import RunError, UsageError
from actkit.runs.reader import parts

METHOD = "mean-diff"
"""The method that is taken where none is named."""


@dataclass(frozen=True)
class StoredDirection:
    """One direction at one hook point."""

    layer: int
    hook_point: str
    unit: npt.NDArray[np.float32]
    """[d_model], of length 1."""
    norm: float | None
    """Length of the difference that was measured; None where the method has none."""

    @property
    def measured(self) -> npt.NDArray[np.float32]:
        """[d_model]: as long as the difference that was measured, so that scale 1 adds just that; else the unit one."""
        return self.unit if self.norm is None else (self.unit.astype(np.float64) * self.norm).astype(np.float32)


def directions_of(run: Path, method: str | None) -> list[StoredDirection]:
    """The directions that `method` found, by layer and hook point.

    Raises RunError for a run without directions, UsageError for a method that it does not have.
    """
    tables = [pq.read_table(part, partitioning=None) for part in parts(run, "directions")]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist() if tables else []
    if not rows:
        raise RunError(f"{run} has no directions", "actkit show lists what it has")
    wanted = METHOD if method is None else method
    chosen = [row for row in rows if row["method"] == wanted]
    if not chosen:
        methods = ", ".join(sorted({row["method"] for row in rows}))
        raise UsageError(f"{run} has no directions by {wanted}", f"--method: {methods}")
    found = [
        StoredDirection(row["layer"], row["hook_point"], np.array(row["direction"], dtype=np.float32), row["norm"])
        for row in chosen
    ]
    return sorted(found, key=lambda one: (one.layer, one.hook_point))
