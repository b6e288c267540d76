"""`projections` are the stored vectors times the directions at the chosen layers, of the run itself or of another."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import Run
from tests.recipes.steered import called
from tests.six_runs import STEMS


@pytest.fixture(scope="module")
def concept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A concept run with all positions; the hook points that it chose are among layers 1 and 2."""
    folder = tmp_path_factory.mktemp("concept")
    rows = [{"positive": f"I love {stem}.", "negative": f"I hate {stem}.", "stem": stem} for stem in STEMS]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given = ("--layers", "1,2", "--positions", "all", "--shard-sequences", "8")
    return called("concept", str(folder / "x.jsonl"), *given, out=folder / "run")


def check(run: Path, chosen: dict[str, Any], directions: pd.DataFrame) -> None:
    """Every stored vector times the direction of each method, in the order of `activations`."""
    found, activations = pd.read_parquet(run / "projections"), pd.read_parquet(run / "activations")
    assert set(found["method"]) == set(chosen)
    for method, row in chosen.items():
        own = found[found["method"] == method].reset_index(drop=True)
        here = activations[activations["hook_point"] == row["hook_point"]].reset_index(drop=True)
        of = directions[(directions["method"] == method) & (directions["hook_point"] == row["hook_point"])]
        expected = np.stack(here["activation"].to_list()).astype(np.float64) @ np.array(of["direction"].iloc[0])
        assert own[["sequence_id", "position"]].equals(here[["sequence_id", "position"]])
        assert own["value"].to_numpy() == pytest.approx(expected) and set(own["layer"]) == {row["layer"]}


def chosen_of(run: Path) -> dict[str, Any]:
    chosen: dict[str, Any] = json.loads((run / "run.json").read_text())["concept"]["chosen"]
    return chosen


def test_every_stored_token_is_there_along_each_methods_direction(concept: Path) -> None:
    check(concept, chosen_of(concept), pd.read_parquet(concept / "directions"))


def test_other_texts_are_projected_on_a_runs_directions_and_verified(
    actkit: Run, concept: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = ("--prompt", "I adore rain.", "--prompt", "It is late", "--directions", concept, "-o", run, "-q")
    assert actkit("capture", *given).status == 0
    check(run, chosen_of(concept), pd.read_parquet(concept / "directions"))
    verified = actkit("verify", run)
    assert verified.status == 0 and "directions are those of" in verified.err
    part = run / "projections" / "part-00000.parquet"
    table = pq.read_table(part, partitioning=None)
    at = table.schema.get_field_index("value")
    pq.write_table(table.set_column(at, table.field(at), pa.array(table["value"].to_numpy() + 1.0)), part)
    assert "projections" in actkit("verify", run).err and actkit("verify", run).status == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--directions", "CONCEPT", "--layers", "0"), "which is not captured"),
        (("--directions", "PLAIN"), "has no directions: it is a run of capture"),
        (("--directions", "nowhere"), "nowhere: no finished run"),
        (("--concept", "honesty", "--directions", "CONCEPT"), "both given"),
    ],
)
def test_directions_that_cannot_be_had(
    given: tuple[str, ...], said: str, actkit: Run, concept: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    if "PLAIN" in given:
        assert actkit("capture", "--prompt", "a b", "-o", plain, "-q").status == 0
    named = [{"CONCEPT": str(concept), "PLAIN": str(plain)}.get(item, item) for item in given]
    prompts = () if "--concept" in named else ("--prompt", "a b")
    done = actkit("capture", *prompts, *named, "-o", tmp_path / "run")
    assert done.status in (1, 2) and said in " ".join(done.err.split())
