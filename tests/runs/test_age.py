"""A run of another schema version is no damaged run: it says who made it, and what still reads it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command_line import Run


@pytest.fixture
def old(six_runs: Mapping[str, Path], tmp_path: Path) -> Path:
    """A run as an older actkit left it: fewer entries, no last manifest."""
    run = Path(shutil.copytree(six_runs["concept"], tmp_path / "old"))
    facts = json.loads((run / "run.json").read_text())
    facts |= {"schema_version": 2, "versions": {**facts["versions"], "actkit": "0.1.0"}}
    del facts["rules"]
    (run / "run.json").write_text(json.dumps(facts))
    (run / "manifest.json").unlink()
    return run


def test_an_older_run_says_who_made_it_and_what_still_reads_it(old: Path, actkit: Run, tmp_path: Path) -> None:
    for command in (["verify", old], ["concept", "--from", old, "-o", tmp_path / "new"]):
        found = actkit(*command)
        assert found.status == 1 and "damaged" not in found.err
        assert f"{old} was made by an older actkit (0.1.0): schema version 2, and this one's is" in found.err
        assert "show, export, plot and report" in found.err and "pip install actkit==0.1.0" in found.err
    assert actkit("show", old, "--json").status == 0
    assert actkit("export", old, "--to", "safetensors", "--out", tmp_path / "x.safetensors", "-q").status == 0


def test_where_reading_an_older_run_fails_that_is_what_is_said(old: Path, actkit: Run, tmp_path: Path) -> None:
    facts = json.loads((old / "run.json").read_text())
    del facts["counts"]
    (old / "run.json").write_text(json.dumps(facts))
    found = actkit("show", old)
    assert found.status == 1 and "was made by an older actkit (0.1.0)" in found.err, found.err
    (old / "run.json").write_text(json.dumps(facts | {"schema_version": 99, "versions": ["x"]}))
    found = actkit("show", old)
    assert "was made by a newer actkit: schema version 99" in found.err, found.err


def test_an_older_unfinished_run_is_not_continued(actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("capture", "-p", "ab", "-p", "cd", "--layers", "0", "--shard-sequences", "1", "-q", "-o", "x")
    assert actkit(*command).status == 0
    Path("x").rename("x.partial")
    begun = Path("x.partial/fingerprint.json")
    about = json.loads(begun.read_text())
    about["fingerprint"]["schema_version"] = 1
    begun.write_text(json.dumps(about))
    found = actkit(*command, "--resume")
    assert found.status == 1 and "was begun by an older actkit: schema version 1" in found.err, found.err
