"""Numbers for each token along a direction: the stored ones, or vectors times the direction, to four digits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from actkit.plots.dpo.pair_vectors import differences_at
from actkit.report.projections import projections_of
from actkit.runs.run import Run

PART = "part-00000.parquet"


def test_pairs_are_projected_on_the_difference_of_the_other_half(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["dpo"]
    (found,) = projections_of(Run(run))
    assert found.name.startswith("projection on the mean of chosen − rejected, layer ")
    layer = int(found.name.rpartition(" ")[2])
    values = found.of_part(PART)
    rows = [row for row in pq.read_table(run / "activations").to_pylist() if row["layer"] == layer]
    assert set(values) == {(row["sequence_id"], row["position"]) for row in rows}
    record = {row["sequence_id"]: row["record_id"] for row in pq.read_table(run / "sequences").to_pylist()}
    records, differences = differences_at(Run(run), f"blocks.{layer}.hook_resid_post")
    for row in rows:
        mean = differences[records % 2 != record[row["sequence_id"]] % 2].mean(axis=0)
        value = float(np.array(row["activation"], dtype=np.float64) @ mean / np.linalg.norm(mean))
        assert values[row["sequence_id"], row["position"]] == pytest.approx(value, rel=1e-3, abs=1e-6)


def test_contrasts_are_projected_on_the_chosen_direction(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["concept"]
    facts = Run(run).facts["concept"]
    best = facts["chosen"][facts["method"]]
    found = projections_of(Run(run))
    assert found[0].name == f"projection on {facts['method']}, layer {best['layer']}"
    values = found[0].of_part(PART)
    if "projections" in Run(run).tables:
        stored = {
            (row["sequence_id"], row["position"]): row["value"]
            for row in pq.read_table(run / "projections").to_pylist()
            if (row["method"], row["layer"]) == (facts["method"], best["layer"])
        }
    else:
        (direction,) = (
            np.array(row["direction"])
            for row in pq.read_table(run / "directions").to_pylist()
            if (row["method"], row["hook_point"]) == (facts["method"], best["hook_point"])
        )
        stored = {
            (row["sequence_id"], row["position"]): float(np.array(row["activation"], dtype=np.float64) @ direction)
            for row in pq.read_table(run / "activations").to_pylist()
            if row["hook_point"] == best["hook_point"]
        }
    assert values == {place: float(f"{value:.4g}") for place, value in stored.items()} and values
    assert found[0].of_part("part-00099.parquet") == {}


@pytest.mark.parametrize("command", ["capture", "sae-extract", "feature-dataset"])
def test_a_run_without_directions_has_none(six_runs: Mapping[str, Path], command: str) -> None:
    assert projections_of(Run(six_runs[command])) == []
