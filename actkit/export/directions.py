"""The concept directions of a run, chosen by method, for the formats that hold one vector a hook point.

A control vector holds directions at the outputs of some blocks, each with its share of the measured difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actkit.errors import RunError, UsageError
from actkit.export.job import ExportJob
from actkit.hooks import parse_layers
from actkit.runs.facts import facts_of
from actkit.runs.reader import parts, rows_of_table

METHOD = "mean-diff"
"""The default method."""


@dataclass(frozen=True)
class StoredDirection:
    """One direction at one hook point."""

    layer: int
    hook_point: str
    unit: npt.NDArray[np.float32]
    """[d_model], of length 1."""
    norm: float | None
    """Length of the difference that was measured; None where the method has none."""
    strength: float = 1.0
    """Multiple of the difference between the sides. A run of `steer` has the strength that it chose."""

    @property
    def measured(self) -> npt.NDArray[np.float32]:
        """[d_model] the vector that scale 1 adds: `strength` times the measured difference or the unit vector."""
        length = self.strength * (1.0 if self.norm is None else self.norm)
        return (self.unit.astype(np.float64) * length).astype(np.float32)


def directions_of(run: Path, method: str | None) -> list[StoredDirection]:
    """Return the directions that `method` found, by layer and hook point. A run of `steer` has those that it chose.

    Raises RunError for a run without directions, UsageError for a method that it does not have.
    """
    if not parts(run, "directions") and parts(run, "interventions"):
        return _steered(run, method)
    rows = rows_of_table(run, "directions")
    if not rows:
        raise RunError(f"{run} has no directions", "actkit show lists what it has")
    wanted = METHOD if method is None else method
    chosen = [row for row in rows if row["method"] == wanted]
    if not chosen:
        methods = ", ".join(sorted({row["method"] for row in rows}))
        raise UsageError(f"{run} has no directions by {wanted}", f"--method: {methods}")
    return [
        StoredDirection(row["layer"], row["hook_point"], np.array(row["direction"], dtype=np.float32), row["norm"])
        for row in sorted(chosen, key=itemgetter("layer", "hook_point"))
    ]


def _steered(run: Path, method: str | None) -> list[StoredDirection]:
    """Return the intervention that a run of `steer` chose, or its only one, as a direction to add."""
    about = facts_of(run)["steer"]
    reported = about["chosen"] or (about["verdicts"][0] if len(about["verdicts"]) == 1 else None)
    if reported is None:
        raise RunError(f"{run} chose no layer and strength", "export the concept run that it is of")
    every = rows_of_table(run, "interventions")
    rows = [row for row in every if row["intervention_id"] == reported["intervention_id"]]
    if any(row["do"] != "add" or row["vector"] is None for row in rows):
        raise RunError(f"{run} did not add a direction, but {rows[0]['do']}", "a control vector can only be added")
    if method is not None and method != rows[0]["source"]:
        raise UsageError(f"{run} chose {rows[0]['source']}, not {method}", "leave --method out")
    vectors = [np.array(row["vector"], dtype=np.float32) for row in rows]
    return [
        StoredDirection(row["layer"], row["hook_point"], vector, row["unit_norm"], row["strength"])
        for row, vector in zip(rows, vectors, strict=True)
    ]


SITE = "hook_resid_post"
"""The hook point that such a vector changes: the residual stream after a block."""


def at_blocks(job: ExportJob, method: str | None) -> dict[int, StoredDirection]:
    """The directions at `SITE`, by layer; the mapping may be empty. Raises what `directions_of` raises."""
    found = directions_of(job.run, method)
    return {direction.layer: direction for direction in found if direction.hook_point.endswith(f".{SITE}")}


def named_layers(job: ExportJob, layers: str, found: Mapping[int, StoredDirection]) -> Sequence[int]:
    """Return the layers of `--layers`. Raises UsageError for a layer of which the run has no direction."""
    wanted = sorted(found) if layers == "all" else parse_layers(layers, int(job.facts["model"]["n_layers"]))
    missing = [layer for layer in wanted if layer not in found]
    if missing:
        raise UsageError(f"{job.run} has no direction of {SITE} at layer {listed(missing)}", f"it has {listed(found)}")
    return wanted


def chosen_layer(job: ExportJob, method: str | None, found: Mapping[int, StoredDirection]) -> int:
    """Return the layer that the run chose for a method, or its only layer. Raises UsageError where it chose none."""
    row = job.facts.get("concept", {}).get("chosen", {}).get(method or METHOD)
    if row is not None and str(row["hook_point"]).endswith(f".{SITE}") and row["layer"] in found:
        return int(row["layer"])
    if len(found) == 1 and row is None:
        return next(iter(found))
    what = f"it chose {row['hook_point']}" if row is not None else "too few stems to hold pairs out"
    raise UsageError(
        f"{job.run} chose no layer of which this format holds a direction ({what})",
        f"name layers: --layers {listed(found)}",
    )


def share_of(job: ExportJob, n: int) -> float:
    """Return the share of its measured difference that each of `n` layers adds. With several, a note states it."""
    if n > 1:
        job.note(f"{n} layers: each adds {1 / n:.3g} of its own measured difference, together one")
    return 1 / n


def listed(layers: Iterable[int]) -> str:
    """Layers as `--layers` takes them: `3,5,7`."""
    return ",".join(map(str, sorted(layers)))
