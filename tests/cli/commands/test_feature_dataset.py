"""`actkit feature-dataset`: what it makes of its options."""

from typing import Any

import pytest

from actkit.cli.commands import feature_dataset as module
from tests.command_line import Run


@pytest.mark.parametrize(("given", "kept"), [((), None), (("--top-k", "0"), None), (("--top-k", "3"), 3)])
def test_no_top_k_and_zero_keep_all_features(
    actkit: Run, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], kept: int | None
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(module, "run_command", lambda _run, own, common, _shared: found.extend((own, common)))
    monkeypatch.setattr(module, "hand_over", lambda _finished, _shared: None)
    asked = ("--activation-threshold", "0.5", "--split", "test", "--target-layer", "2")
    assert actkit("feature-dataset", "me/data", *given, *asked).status == 0
    own, common = found
    assert (own.dataset, own.top_k, own.threshold, own.read.split) == ("me/data", kept, 0.5, "test")
    assert [sae.layer for sae in common.saes] == [2]


def test_no_dataset_is_said_before_anything_is_looked_at(actkit: Run) -> None:
    found = actkit("feature-dataset", "--sae-release", "nothing")
    assert found.status == 2 and "no DATASET given" in found.err
