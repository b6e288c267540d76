"""`actkit merge` of a run that is whole already, and of one that says of itself what cannot be."""

import json
from pathlib import Path

import pytest

from actkit.cli.commands import merge as module
from tests.command_line import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is taken for a finished run."""
    monkeypatch.chdir(tmp_path)
    folder = Path("x")
    folder.mkdir()
    facts = {"schema_version": 3, "command": "nothing", "tables": {}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_a_run_without_tasks_is_named_and_nothing_is_done(actkit: Run, run: Path) -> None:
    before = sorted(run.iterdir())
    found = actkit(module.merge.__name__, run)
    assert (found.status, found.out) == (0, "x\n") and sorted(run.iterdir()) == before


def test_a_run_of_no_command_is_said_to_be_that(actkit: Run, run: Path) -> None:
    found = actkit("merge", run, "--json")
    assert found.status == 1 and found.out == ""
    assert "names no command: nothing" in found.err and "Traceback" not in found.err
