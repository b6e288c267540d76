"""`Action`: a row of the table `interventions`, from which the intervention is made again.

A run stores all that this takes, so it works on another machine, in `verify`, and around a caller's own generation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from actkit.backends.interventions import (
    Change,
    Edit,
    FeatureDo,
    Intervention,
    add,
    as_long_as,
    change_features,
    project_out,
    sparing,
)
from actkit.backends.saes.sae import Sae
from actkit.errors import ModelError
from actkit.hooks import HookPoint

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Action:
    """An intervention at one hook point; fields are the columns of `interventions`."""

    intervention_id: int
    do: str
    hook_point: str | None = None
    layer: int | None = None
    source: str | None = None
    is_control: bool = False
    control_group: int | None = None
    feature_ids: tuple[int, ...] | None = None
    sae: str | None = None
    strength: float = 0.0
    values: tuple[float, ...] | None = None
    unit_norm: float | None = None
    expected: int = 0
    positions: str = "all"
    seed: int | None = None
    sink_norm: float | None = None
    """Vectors longer than this are attention sinks, which interventions do not change."""
    vector: Vector | None = None
    """[d_model] of length 1."""

    def row(self) -> dict[str, Any]:
        """Make a row of the table `interventions`."""
        return dict(vars(self))


UNSTEERED = Action(0, "none")


def action_of(row: Mapping[str, Any]) -> Action:
    """Make the action of a row of the table `interventions`."""
    vector = row["vector"]
    lists = {name: None if row[name] is None else tuple(row[name]) for name in ("feature_ids", "values")}
    return Action(**{**row, **lists, "vector": None if vector is None else np.array(vector, dtype=np.float32)})


def interventions_of(actions: Sequence[Action], saes: Mapping[str, Sae]) -> list[Intervention]:
    """Make the interventions, by id, each of all actions of its id. Raises ModelError for an SAE not in `saes`."""
    edits: dict[int, list[Edit]] = {action.intervention_id: [] for action in actions}
    for action in actions:
        if action.hook_point is not None:
            edits[action.intervention_id].append(edit_of(action, saes))
    return [Intervention(number, tuple(edits[number])) for number in sorted(edits)]


def edit_of(action: Action, saes: Mapping[str, Sae]) -> Edit:
    """Make the edit of an action. Raises ModelError for an SAE not in `saes`."""
    assert action.hook_point is not None
    change = _change(action, saes)
    spared = change if action.sink_norm is None else sparing(change, action.sink_norm)
    return Edit(HookPoint.of(action.hook_point), spared)


def _change(action: Action, saes: Mapping[str, Sae]) -> Change:
    unit = None if action.vector is None else torch.from_numpy(action.vector)
    if action.feature_ids is not None:
        if action.sae is None or action.sae not in saes:
            raise ModelError(f"the SAE {action.sae} is not loaded", "its directory or release must be where it was")
        real = change_features(saes[action.sae], action.feature_ids, cast("FeatureDo", action.do), action.values or 0.0)
        return real if unit is None else as_long_as(real, unit)
    assert unit is not None
    if action.do == "project-out":
        return project_out(unit, action.strength)
    return add(unit * (action.strength * (action.unit_norm or 1.0)))
