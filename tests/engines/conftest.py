"""A folder to run commands in."""

from pathlib import Path

import pytest

from tests.engines.runs import write_inputs


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the inputs is the current one."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
