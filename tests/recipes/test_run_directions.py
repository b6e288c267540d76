"""Directions taken over from a finished concept run: those it chose that are captured, of this model's width."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError, UsageError
from actkit.recipes.run_directions import RunDirections, directions_of

EVERY = [f"blocks.{layer}.hook_resid_post" for layer in range(4)]


def facts_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def test_each_method_has_the_direction_of_its_chosen_layer(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["concept"]
    facts = facts_of(run)
    found = directions_of(run, EVERY, facts["model"]["d_model"])
    chosen = facts["concept"]["chosen"]
    assert found.chosen == {name: {key: row[key] for key in ("layer", "hook_point")} for name, row in chosen.items()}
    stored = {(row["method"], row["hook_point"]): row for row in pq.read_table(run / "directions").to_pylist()}
    assert found.table.to_pylist() == [stored[name, row["hook_point"]] for name, row in chosen.items()]


def test_only_what_is_captured_is_projected_on(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["concept"]
    width = facts_of(run)["model"]["d_model"]
    points = {row["hook_point"] for row in facts_of(run)["concept"]["chosen"].values()}
    for point in points:
        assert {row["hook_point"] for row in directions_of(run, [point], width).table.to_pylist()} == {point}
    with pytest.raises(UsageError, match="which is not captured") as error:
        directions_of(run, ["blocks.0.hook_mlp_out"], width)
    assert all(point in error.value.message for point in points) and error.value.hint.startswith("--layers ")


def test_another_model_and_another_command_are_refused(six_runs: Mapping[str, Path]) -> None:
    width = facts_of(six_runs["concept"])["model"]["d_model"]
    with pytest.raises(RunError, match=rf"has directions in {width} dimensions, of tiny; this model has 7"):
        directions_of(six_runs["concept"], EVERY, 7)
    with pytest.raises(RunError, match="has no directions: it is a run of capture") as error:
        directions_of(six_runs["capture"], EVERY, width)
    assert error.value.hint == "--directions takes a run of concept"


def test_a_run_that_chose_nothing_has_none(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(six_runs["concept"], tmp_path / "run"))
    facts = facts_of(run)
    facts["concept"]["chosen"] = None
    (run / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="has no directions: it is a run of concept"):
        directions_of(run, EVERY, 64)


def test_the_digest_tells_directions_apart(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["concept"]
    found = directions_of(run, EVERY, facts_of(run)["model"]["d_model"])
    table = found.table
    other = table.set_column(0, "layer", table["layer"])
    assert RunDirections(found.chosen, other).digest == found.digest and len(found.digest) == 64
    first = table["direction"].to_pylist()
    first[0][0] += 1e-3
    at = table.schema.get_field_index("direction")
    changed = table.set_column(at, table.schema.field(at), pa.array(first, table.schema.field(at).type))
    assert RunDirections(found.chosen, changed).digest != found.digest
    assert RunDirections(found.chosen, table.slice(1)).digest != found.digest
