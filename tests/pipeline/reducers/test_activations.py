"""What a plan says of tables is what a run then writes."""

from pathlib import Path

import pytest

import actkit
from actkit.hooks import HookPoint
from actkit.pipeline.reducers.activations import KEYS, vectors_stored
from actkit.pipeline.reducers.features import features_stored

POINTS = [HookPoint(layer, "hook_resid_post") for layer in (1, 2)]


@pytest.mark.parametrize(("store_dtype", "size"), [("float32", 4), ("float16", 2)])
def test_vectors_take_their_numbers_and_a_key(store_dtype: str, size: int) -> None:
    found = vectors_stored(POINTS, 192, store_dtype)
    assert (found.per, found.rows, found.bytes) == ("position", 2, 2 * (192 * size + KEYS))
    assert vectors_stored(POINTS, None, store_dtype).bytes is None


def test_without_a_limit_nobody_knows_how_many_features_fire() -> None:
    assert features_stored([], None).bytes is None


def test_a_run_is_as_large_as_its_plan(tmp_path: Path) -> None:
    """Exactly the rows, and the bytes to a few percent: Parquet adds footers."""
    spec = actkit.CaptureSpec(tuple(f"{number} and a text of some words, many more than one." for number in range(80)))
    model, whole = actkit.ModelSpec(device="cpu"), actkit.OutputSpec(tmp_path / "run")
    plan = actkit.run_capture(spec, actkit.DenseSpec(model, actkit.OutputSpec(tmp_path / "x", plan_only=True), "1,2"))
    run = actkit.run_capture(spec, actkit.DenseSpec(model, whole, "1,2"))
    expected, found = plan.facts["tables"]["activations"], run.facts["tables"]["activations"]
    assert expected["rows"] == found["rows"] > 1000
    assert found["bytes"] == pytest.approx(expected["bytes"], rel=0.05)
