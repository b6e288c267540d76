"""`actkit steer`, and `--steer` of other commands, which goes on from the run that they made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actkit.cli.commands import steer as module
from actkit.cli.options.shared import Shared
from tests.command_line import Run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The specs that would be run."""
    found: list[Any] = []

    def kept(_run: Any, own: Any, common: Any, shared: Any) -> Any:
        found.extend((own, common, shared))
        return SimpleNamespace(path=common.output.out, facts={}, task=None)

    monkeypatch.setattr(module, "run_command", kept)
    return found


def test_a_run_that_was_just_made_is_steered_where_and_how_it_was_made(asked: list[Any]) -> None:
    made = Shared(device="cpu", batch_tokens=77, overwrite=True, export=["pt"], report=True, profile=True, quiet=True)
    module.steer_after(Path("runs/x"), made, features="top:10")
    own, common, shared = asked
    assert (own.run, own.features, own.do) == ("runs/x", "top:10", None)
    assert (common.output.out, common.output.overwrite, common.device) == (Path("runs/x-effects"), True, "cpu")
    assert common.batch.batch_tokens == 77 and common.model is None
    assert not (shared.export or shared.report or shared.profile)  # they were about the first run


def test_methods_are_those_that_are_named_or_the_usual_one(actkit: Run, asked: list[Any]) -> None:
    for given, methods in (((), ("mean-diff",)), (("--method", "pca", "--method", "logistic"), ("pca", "logistic"))):
        asked.clear()
        actkit("steer", "runs/x", "-q", "-o", "y", *given)
        own, common, _ = asked
        assert own.method == methods and common.output.out == Path("y")
