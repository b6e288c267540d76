"""The concept directions of a run, chosen by method, for the formats that hold one vector a hook point."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actkit.errors import RunError, UsageError
from actkit.runs.facts import facts_of
from actkit.runs.reader import parts, rows_of_table

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
    strength: float = 1.0
    """How many times the difference: of a run of `steer`, what it chose."""

    @property
    def measured(self) -> npt.NDArray[np.float32]:
        """[d_model]: what scale 1 adds: the difference that was measured, or so many times it; else the unit one."""
        length = self.strength * (1.0 if self.norm is None else self.norm)
        return (self.unit.astype(np.float64) * length).astype(np.float32)


def directions_of(run: Path, method: str | None) -> list[StoredDirection]:
    """The directions that `method` found, by layer and hook point; of a run of `steer` what it chose.

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
    found = [
        StoredDirection(row["layer"], row["hook_point"], np.array(row["direction"], dtype=np.float32), row["norm"])
        for row in chosen
    ]
    return sorted(found, key=lambda direction: (direction.layer, direction.hook_point))


def _steered(run: Path, method: str | None) -> list[StoredDirection]:
    """What a run of `steer` chose, or the only thing that it did, as a direction that is added."""
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
    return [
        StoredDirection(
            row["layer"],
            row["hook_point"],
            np.array(row["vector"], dtype=np.float32),
            row["unit_norm"],
            row["strength"],
        )
        for row in rows
    ]
