"""`projections` are the stored vectors times the directions at the chosen layers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.command_line import Run
from tests.six_runs import STEMS


def test_every_stored_token_is_there_along_each_methods_direction(actkit: Run, tmp_path: Path) -> None:
    rows = [{"positive": f"I love {one}.", "negative": f"I hate {one}.", "stem": one} for one in STEMS]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run = tmp_path / "run"
    given = ("--layers", "1,2", "--positions", "all", "--shard-sequences", "8", "-o", run, "-q")
    assert actkit("concept", tmp_path / "x.jsonl", *given).status == 0
    chosen = json.loads((run / "run.json").read_text())["concept"]["chosen"]
    found, directions = pd.read_parquet(run / "projections"), pd.read_parquet(run / "directions")
    activations = pd.read_parquet(run / "activations")
    assert set(found["method"]) == set(chosen)
    for method, row in chosen.items():
        own = found[found["method"] == method].reset_index(drop=True)
        here = activations[activations["hook_point"] == row["hook_point"]].reset_index(drop=True)
        of = directions[(directions["method"] == method) & (directions["hook_point"] == row["hook_point"])]
        expected = np.stack(here["activation"].to_list()).astype(np.float64) @ np.array(of["direction"].iloc[0])
        assert own[["sequence_id", "position"]].equals(here[["sequence_id", "position"]])
        assert own["value"].to_numpy() == pytest.approx(expected) and set(own["layer"]) == {row["layer"]}
