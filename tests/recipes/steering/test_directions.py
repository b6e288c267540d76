"""Interventions of a concept run: its directions where they are asked for, and controls of the same layer and norm."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis.concepts.contrast import read_pairs
from actkit.analysis.concepts.directions import split_pairs
from actkit.errors import RunError, UsageError
from actkit.recipes.steering.directions import MEASURE, RunDirection, actions_on, directions_in
from actkit.recipes.steering.spec import SteerSpec
from actkit.schemas import arrow_schema

SPEC = SteerSpec("runs/x")


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Path]:
    """A run with directions of two methods at some layers."""

    def write(layers: tuple[int, ...] = (0, 2, 4, 6), flat: int | None = None) -> Path:
        rows = [
            {
                "layer": layer,
                "hook_point": f"blocks.{layer}.hook_resid_post",
                "method": method,
                "direction": [0.0, 0.0] if layer == flat else [0.6, 0.8],
                "norm": None if method == "logistic" else layer + 1.0,
            }
            for method in ("logistic", MEASURE)
            for layer in layers
        ]
        (tmp_path / "directions").mkdir(exist_ok=True)
        table = pa.Table.from_pylist(rows, schema=arrow_schema("directions"))
        pq.write_table(table, tmp_path / "directions" / "part-00000.parquet")
        return tmp_path

    return write


def layers_of(found: list[RunDirection]) -> list[int]:
    return [direction.layer for direction in found]


def test_without_layers_three_in_the_middle_are_taken(stored: Callable[..., Path]) -> None:
    """Those whose depth is nearest to 0.37, 0.5 and 0.63 of eight."""
    assert layers_of(directions_in(stored(), SPEC, 8)) == [2, 4]
    assert layers_of(directions_in(stored(tuple(range(8))), SPEC, 8)) == [2, 3, 4]
    assert layers_of(directions_in(stored((7,)), SPEC, 8)) == [7]
    assert layers_of(directions_in(stored(), replace(SPEC, every_layer=True), 8)) == [0, 2, 4, 6]
    assert layers_of(directions_in(stored(), replace(SPEC, every_layer=True, layers="2"), 8)) == [2]


def test_layers_and_methods_that_are_named(stored: Callable[..., Path]) -> None:
    run = stored()
    assert layers_of(directions_in(run, replace(SPEC, layers="6,0"), 8)) == [0, 6]
    assert layers_of(directions_in(run, replace(SPEC, layers="all"), 8)) == [0, 2, 4, 6]
    both = directions_in(run, replace(SPEC, layers="2", method=("logistic", MEASURE)), 8)
    assert [direction.method for direction in both] == ["logistic", MEASURE]
    assert {direction.norm for direction in both} == {3.0}, "one norm is strength 1, whichever direction is taken"
    assert both[0].unit.dtype == np.float32 and both[0].unit.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("spec", "kind", "says", "hint"),
    [
        (replace(SPEC, layers="2,3"), UsageError, "has no direction at layer 3", "it has 0, 2, 4, 6"),
        (replace(SPEC, layers="1"), UsageError, "has no direction at layer 1", "it has 0, 2, 4, 6"),
        (replace(SPEC, method=("pca",)), UsageError, "has no directions by pca", f"--method: logistic, {MEASURE}"),
    ],
)
def test_what_the_run_does_not_have(
    stored: Callable[..., Path], spec: SteerSpec, kind: type[Exception], says: str, hint: str
) -> None:
    with pytest.raises(kind, match=says) as error:
        directions_in(stored(), spec, 8)
    assert error.value.hint == hint  # type: ignore[attr-defined]


def test_a_run_without_directions_and_sides_that_do_not_differ(stored: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no directions"):
        directions_in(tmp_path / "elsewhere", SPEC, 8)
    run = stored(flat=2)
    with pytest.raises(RunError, match=r"at blocks.2.hook_resid_post the two sides do not differ") as error:
        directions_in(run, SPEC, 8)
    assert error.value.hint == "--layers"
    assert layers_of(directions_in(run, replace(SPEC, layers="4"), 8)) == [4]


@pytest.fixture
def concept(six_runs: Mapping[str, Path]) -> Path:
    return six_runs["concept"]


def made(run: Path, **changes: Any) -> list[Any]:
    spec = replace(SPEC, layers="1,2", random=4, **changes)
    return actions_on(run, directions_in(run, spec, 4), (-2.0, 1.0), spec)


def test_each_direction_at_each_strength_and_controls_beside_it(concept: Path) -> None:
    found = made(concept)
    assert [action.intervention_id for action in found] == list(range(len(found))) and found[0].do == "none"
    real, controls = ([each for each in found[1:] if each.is_control is is_control] for is_control in (False, True))
    assert [(each.layer, each.strength, each.expected) for each in real] == [
        (1, -2.0, -1),
        (1, 1.0, 1),
        (2, -2.0, -1),
        (2, 1.0, 1),
    ]
    assert Counter(each.control_group for each in controls) == dict.fromkeys(range(4), 4)
    for each in controls:
        twin = real[each.control_group]
        assert (each.layer, each.strength, each.unit_norm) == (twin.layer, twin.strength, twin.unit_norm)
        assert each.seed == 0 and twin.seed is None
        assert np.linalg.norm(each.vector) == pytest.approx(1, abs=1e-5)
    assert Counter(each.source for each in controls) == {"gaussian": 8, "exchanged": 8}
    by_layer = {each.layer: each.unit_norm for each in real}
    assert by_layer[1] != by_layer[2]


def test_controls_come_of_the_seed_and_are_the_same_at_each_strength(concept: Path) -> None:
    first, again, other = made(concept), made(concept), made(concept, seed=5)
    vectors = [[each.vector.tolist() for each in found if each.is_control] for found in (first, again, other)]
    assert vectors[0] == vectors[1] and vectors[0] != vectors[2]
    assert vectors[0][:4] == vectors[0][4:8] != vectors[0][8:12]


def test_exchanged_controls_are_mean_differences_of_training_pairs_with_other_signs(concept: Path) -> None:
    exchanged = [each for each in made(concept) if each.source == "exchanged" and each.layer == 2][:2]
    pairs = read_pairs(concept)
    split = split_pairs(pairs.stems, int(json.loads((concept / "run.json").read_text())["options"]["seed"] or 0))
    assert split is not None
    rows = pq.read_table(concept / "activations").to_pylist()
    sides = {row["sequence_id"]: row["side"] for row in pq.read_table(concept / "sequences").to_pylist()}
    of = {row["sequence_id"]: row["record_id"] for row in pq.read_table(concept / "sequences").to_pylist()}
    at: dict[tuple[int, str], Any] = {}
    for row in rows:
        if row["hook_point"] == "blocks.2.hook_resid_post":
            at[of[row["sequence_id"]], sides[row["sequence_id"]]] = np.array(row["activation"])
    differences = np.stack([at[int(record), "positive"] - at[int(record), "negative"] for record in pairs.record_ids])
    train = differences[split.train]
    for each in exchanged:
        signs = np.linalg.lstsq(train.T, each.vector.astype(np.float64), rcond=None)[0]
        assert np.allclose(np.abs(signs), np.abs(signs).mean(), rtol=1e-2), (
            "each pair counts as much, on one side or the other"
        )
        assert np.allclose(train.T @ signs, each.vector, atol=1e-4)


def test_project_out_has_no_norm_and_expects_the_other_sign(concept: Path) -> None:
    found = [each for each in made(concept, do="project-out")[1:] if not each.is_control]
    assert {each.unit_norm for each in found} == {None} and [each.expected for each in found[:2]] == [1, -1]


def test_at_every_layer_at_once_all_actions_of_an_intervention_have_its_number(concept: Path) -> None:
    found = made(concept, every_layer=True)
    layers = {}
    for each in found[1:]:
        layers.setdefault(each.intervention_id, []).append(each.layer)
    assert all(sorted(own) == [1, 2] for own in layers.values())
    assert len(layers) == 2 * (1 + 4) and sorted(layers) == list(range(1, 11))
    assert [each.control_group for each in found[1:] if not each.is_control] == [0, 0, 1, 1]
