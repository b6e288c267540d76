"""Make the interventions of a concept run: its directions at some layers and strengths, and controls for each.

A control has the layer and the norm of the direction that it is compared with. Half are random Gaussian directions.
Half are mean differences of the run's own training pairs with the sides of some stems exchanged at random. These lie
where activations of such texts differ anyway, unlike Gaussian directions, so Gaussian controls alone understate chance.
"""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actkit.analysis.columns import Floats
from actkit.analysis.concepts.contrast import read_pairs, read_sides
from actkit.analysis.concepts.direction_chance import Exchanges
from actkit.analysis.concepts.directions import split_pairs
from actkit.analysis.scratch_file import Spill
from actkit.backends.actions import UNSTEERED, Action, Vector
from actkit.errors import RunError, UsageError
from actkit.hooks import parse_layers
from actkit.recipes.steering.spec import SteerSpec
from actkit.runs.facts import facts_of
from actkit.runs.reader import rows_of_table

DEPTHS = (0.37, 0.5, 0.63)
"""Relative depths of the layers that are tried where none are named: the middle layers steer most."""
STRENGTHS = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)
MEASURE = "mean-diff"
"""The method whose norm is strength 1 for directions of every method, so that methods are compared at the same norm."""
OTHER_DRAWS = 11
"""Makes the random draws here independent of those of the run itself."""


@dataclass(frozen=True)
class RunDirection:
    """A direction of a run at one hook point."""

    layer: int
    hook_point: str
    method: str
    unit: Vector
    norm: float
    """The norm of the mean difference measured there."""


def directions_in(run: Path, spec: SteerSpec, n_layers: int) -> list[RunDirection]:
    """Return the directions that `spec` names, by layer; without layers three in the middle, or all for `every_layer`.

    Raises RunError for a run without directions, or with none at a hook point where the sides do not differ, and
    UsageError for a layer or method that the run lacks.
    """
    rows = rows_of_table(run, "directions")
    if not rows:
        raise RunError(f"{run} has no directions", "actkit steer is for runs of concept and of reward-detect")
    methods = sorted({row["method"] for row in rows})
    missing = [method for method in spec.method if method not in methods]
    if missing:
        raise UsageError(f"{run} has no directions by {missing[0]}", f"--method: {', '.join(methods)}")
    norms = {row["hook_point"]: row["norm"] for row in rows if row["method"] == MEASURE}
    there = sorted({row["layer"] for row in rows})
    wanted = there if spec.every_layer and spec.layers is None else _layers(spec.layers, there, n_layers, run)
    found = [
        RunDirection(
            row["layer"],
            row["hook_point"],
            row["method"],
            np.array(row["direction"], dtype=np.float32),
            float(norms[row["hook_point"]]),
        )
        for row in rows
        if row["layer"] in wanted and row["method"] in spec.method
    ]
    flat = next((direction for direction in found if not direction.unit.any() or not direction.norm), None)
    if flat is not None:
        raise RunError(f"{run}: at {flat.hook_point} the two sides do not differ, so there is no direction", "--layers")
    return sorted(found, key=lambda each: (each.layer, each.hook_point, spec.method.index(each.method)))


def actions_on(
    run: Path, directions: Sequence[RunDirection], strengths: Sequence[float], spec: SteerSpec
) -> list[Action]:
    """Return the unsteered model, every direction at every strength, and the controls of each point and strength."""
    controls = {direction.hook_point: _controls(run, direction, spec) for direction in directions}
    if spec.every_layer:
        return [UNSTEERED, *_everywhere(directions, controls, strengths, spec)]
    found = [UNSTEERED]
    groups = [(point, strength) for point in controls for strength in strengths]
    for direction in directions:
        for strength in strengths:
            group = groups.index((direction.hook_point, strength))
            found.append(_action(len(found), direction, strength, group, spec))
    at = {direction.hook_point: direction for direction in directions}
    for group, (point, strength) in enumerate(groups):
        for control in controls[point]:
            found.append(_action(len(found), at[point], strength, group, spec, control))
    return found


def _everywhere(
    directions: Sequence[RunDirection],
    controls: Mapping[str, Sequence[tuple[str, Vector]]],
    strengths: Sequence[float],
    spec: SteerSpec,
) -> list[Action]:
    """Return each method's directions at all layers at once, and equally many controls at all layers at once."""
    found: list[Action] = []
    number = 0
    for group, strength in enumerate(strengths):
        for method in spec.method:
            number += 1
            own = [direction for direction in directions if direction.method == method]
            found += [_action(number, direction, strength, group, spec) for direction in own]
        at = {direction.hook_point: direction for direction in directions}
        for index in range(spec.random):
            number += 1
            for point, direction in at.items():
                found.append(_action(number, direction, strength, group, spec, controls[point][index]))
    return found


def _action(
    number: int,
    direction: RunDirection,
    strength: float,
    group: int,
    spec: SteerSpec,
    control: tuple[str, Vector] | None = None,
) -> Action:
    """Make the action of a direction, or of a control in its place, at one strength."""
    do = spec.done[0] or "add"
    removes = do == "project-out"
    source, unit = control or (direction.method, direction.unit)
    return Action(
        number,
        do,
        direction.hook_point,
        direction.layer,
        source,
        control is not None,
        group,
        strength=strength,
        unit_norm=None if removes else direction.norm,
        expected=int(np.sign(strength)) * (-1 if removes else 1),
        positions=spec.positions,
        seed=None if control is None else spec.seed,
        vector=unit,
    )


def _controls(run: Path, direction: RunDirection, spec: SteerSpec) -> list[tuple[str, Vector]]:
    """Draw `spec.random` unit vectors at a hook point, each with its source: half Gaussian, half exchanged."""
    n_exchanged = spec.random // 2
    rng = np.random.default_rng((spec.seed, OTHER_DRAWS, direction.layer))
    noise = rng.normal(size=(spec.random - n_exchanged, len(direction.unit)))
    found = [("gaussian", _unit(row)) for row in noise]
    return found + [("exchanged", _unit(row)) for row in _exchanged(run, direction.hook_point, n_exchanged, spec.seed)]


def _exchanged(run: Path, hook_point: str, count: int, seed: int) -> Floats:
    """[count, d_model] Sum the differences of training pairs, with the sides of stems exchanged at random."""
    if not count:
        return np.zeros((0, 1))
    pairs = read_pairs(run)
    options = facts_of(run).get("options", {})
    split = split_pairs(pairs.stems, int(options.get("seed") or 0))
    # Where all positions were stored, directions are of the last one.
    last_only = options.get("positions") == "all"
    with tempfile.TemporaryDirectory() as folder, closing(Spill(Path(folder))) as file:
        sides = read_sides(run, pairs, hook_point, last_only, file).pairs
        train = sides if split is None else sides.where(split.train)
        draws = Exchanges.drawn(train.stems, count, seed + OTHER_DRAWS)
        total = np.zeros((count, train.d_model))
        for here, difference in train.differences():
            total += np.where(draws.kept(here), 1.0, -1.0).T @ difference
    return total


def _layers(text: str | None, there: Sequence[int], n_layers: int, run: Path) -> Sequence[int]:
    if text is None:
        return sorted({min(there, key=lambda layer: (abs((layer + 1) / n_layers - depth), layer)) for depth in DEPTHS})
    named = parse_layers(text, n_layers)
    inside = [layer for layer in named if layer in there]
    if not inside or (len(inside) < len(named) and text not in ("all", "recommended")):
        lacking = [layer for layer in named if layer not in there]
        raise UsageError(
            f"--layers {text}: {run} has no direction at layer {lacking[0]}", f"it has {', '.join(map(str, there))}"
        )
    return inside


def _unit(vector: Floats) -> Vector:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
