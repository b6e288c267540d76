"""`actkit examples` writes all that is asked for, or nothing."""

from pathlib import Path

import pytest

from actkit.cli.commands import examples as module
from tests.command_line import Run


def test_one_file_in_the_way_keeps_all_others_from_being_written(
    actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    last = list(module.USES)[-1]
    Path(last).write_text("mine", encoding="utf-8")
    found = actkit("examples", "all")
    assert found.status == 1 and f"{last} exists already" in found.err
    assert [path.name for path in tmp_path.iterdir()] == [last] and Path(last).read_text(encoding="utf-8") == "mine"
    actkit("examples", "all", "--overwrite")
    assert {path.name for path in tmp_path.iterdir()} == set(module.USES)
    assert Path(last).read_bytes() == (module.EXAMPLES / last).read_bytes()
