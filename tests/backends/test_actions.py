"""A row of `interventions` is all that it takes to make the edit again: each kind, with formulas written here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from actkit.backends.actions import UNSTEERED, Action, action_of, edit_of, interventions_of
from actkit.backends.saes.sae import Sae
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from actkit.schemas import arrow_schema

POINT = HookPoint(1, "hook_resid_post")
UNIT = np.array([0.6, 0.8, 0.0], dtype=np.float32)
X = torch.tensor([[3.0, 4.0, 1.0], [-1.0, 2.0, 0.0]])
SAE = Sae("sae", POINT, 3, 3, "standard", torch.relu, lambda _x, features: features @ (2 * torch.eye(3)))


def action(do: str, **about: Any) -> Action:
    return Action(1, do, str(POINT), 1, vector=UNIT, **about)


def changed(made: Action) -> list[list[float]]:
    """What is added to `X`."""
    edit = edit_of(made, {"sae": SAE})
    assert edit.hook_point == POINT
    found: list[list[float]] = edit.change(X).tolist()
    return found


def test_a_row_comes_back_through_the_table() -> None:
    made = action("add", strength=2.0, unit_norm=3.0, feature_ids=(1, 2), values=(0.5, 1.5), sae="sae", seed=4)
    table = pa.Table.from_pylist([made.row(), UNSTEERED.row()], schema=arrow_schema("interventions"))
    first, second = map(action_of, table.to_pylist())
    assert first.vector is not None and first.vector.dtype == np.float32 and np.array_equal(first.vector, UNIT)
    assert replace(first, vector=None) == replace(made, vector=None)
    assert second == UNSTEERED and second.row()["vector"] is None


def test_a_direction_is_added_in_units_of_its_norm() -> None:
    expected = pytest.approx([2 * 3 * 0.6, 2 * 3 * 0.8, 0.0])
    assert changed(action("add", strength=2.0, unit_norm=3.0)) == [expected, expected]
    assert changed(action("add", strength=2.0))[0] == pytest.approx([1.2, 1.6, 0.0]), "of no norm, as it is"


def test_what_lies_along_a_direction_is_taken_out() -> None:
    for row, after in zip(X, torch.tensor(changed(action("project-out", strength=1.0))) + X, strict=True):
        assert float(after @ torch.from_numpy(UNIT)) == pytest.approx(0.0, abs=1e-6)
        assert torch.allclose(after - row, -(row @ torch.from_numpy(UNIT)) * torch.from_numpy(UNIT))
    half = torch.tensor(changed(action("project-out", strength=0.5)))
    assert torch.allclose(half * 2, torch.tensor(changed(action("project-out", strength=1.0))))


@pytest.mark.parametrize(
    ("do", "values", "expected"),
    [
        ("zero", None, [[-6.0, 0.0, -2.0], [0.0, 0.0, 0.0]]),
        ("clamp", (1.0, 5.0), [[-4.0, 0.0, 8.0], [2.0, 0.0, 10.0]]),
        ("add", (1.0, 5.0), [[2.0, 0.0, 10.0], [2.0, 0.0, 10.0]]),
    ],
)
def test_features_are_changed_as_the_sae_reconstructs_them(
    do: str, values: tuple[float, ...] | None, expected: list[list[float]]
) -> None:
    made = Action(1, do, str(POINT), 1, feature_ids=(0, 2), sae="sae", values=values)
    assert changed(made) == expected
    control = changed(replace(made, vector=UNIT))
    lengths = torch.tensor(expected).norm(dim=1, keepdim=True)
    assert torch.allclose(torch.tensor(control), lengths * torch.from_numpy(UNIT)), "a control moves as far"


def test_sinks_are_left_as_they_are() -> None:
    made = action("add", strength=1.0, sink_norm=3.0)
    assert changed(made) == [[0.0, 0.0, 0.0], pytest.approx([0.6, 0.8, 0.0])]


def test_actions_of_one_id_are_made_together_and_the_unsteered_has_none() -> None:
    first, second = action("add", strength=1.0), replace(action("add"), hook_point="blocks.2.hook_mlp_out")
    other = replace(first, intervention_id=7)
    found = interventions_of([other, UNSTEERED, first, second], {})
    assert [made.intervention_id for made in found] == [0, 1, 7]
    assert [[str(edit.hook_point) for edit in made.edits] for made in found] == [
        [],
        ["blocks.1.hook_resid_post", "blocks.2.hook_mlp_out"],
        ["blocks.1.hook_resid_post"],
    ]


@pytest.mark.parametrize("name", ["other", None])
def test_an_sae_that_is_not_loaded_is_named(name: str | None) -> None:
    with pytest.raises(ModelError, match=f"the SAE {name} is not loaded") as error:
        changed(Action(1, "zero", str(POINT), 1, feature_ids=(0,), sae=name))
    assert error.value.hint == "its directory or release must be where it was"
