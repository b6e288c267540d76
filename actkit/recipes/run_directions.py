"""Directions that a finished `concept` run chose: `capture --directions` projects other texts on them."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.errors import RunError, UsageError
from actkit.runs.facts import facts_of
from actkit.runs.reader import rows_of_table
from actkit.schemas import arrow_schema


@dataclass(frozen=True)
class RunDirections:
    """The directions that are taken over from a run."""

    chosen: Mapping[str, Mapping[str, Any]]
    """Method → `layer` and `hook_point` of its direction."""
    table: pa.Table
    """Rows of `directions`, one a method."""

    @property
    def digest(self) -> str:
        """sha256 over the directions: a run that is continued must have the same."""
        digest = hashlib.sha256()
        for row in self.table.to_pylist():
            digest.update(f"{row['method']} {row['hook_point']}".encode())
            digest.update(np.array(row["direction"], dtype=np.float32).tobytes())
        return digest.hexdigest()


def directions_of(run: Path, captured: Collection[str], d_model: int) -> RunDirections:
    """Return the directions that `run` chose, at those of their hook points that are `captured`.

    Raises RunError for a run without directions or of another width, UsageError where none of its layers is captured.
    """
    facts = facts_of(run)
    chosen = facts.get("concept", {}).get("chosen") or {}
    stored = rows_of_table(run, "directions")
    if not chosen or not stored:
        raise RunError(
            f"{run} has no directions: it is a run of {facts.get('command')}", "--directions takes a run of concept"
        )
    known = {(row["method"], row["hook_point"]): row for row in stored if row["direction"]}
    places = {method: row["hook_point"] for method, row in chosen.items()}
    rows = [known[method, point] for method, point in places.items() if point in captured and (method, point) in known]
    if not rows:
        needed = ", ".join(sorted(set(places.values())))
        layers = ",".join(sorted({str(row["layer"]) for row in chosen.values()}))
        raise UsageError(f"{run} chose {needed}, which is not captured", f"--layers {layers}, or all of them")
    width = len(rows[0]["direction"])
    if width != d_model:
        model = facts.get("model", {}).get("name")
        raise RunError(
            f"{run} has directions in {width} dimensions, of {model}; this model has {d_model}",
            "directions are of the model that they were found in",
        )
    found = {row["method"]: {"layer": row["layer"], "hook_point": row["hook_point"]} for row in rows}
    return RunDirections(found, pa.Table.from_pylist(rows, schema=arrow_schema("directions")))
