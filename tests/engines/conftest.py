"""Runs of single processes, made once for all of these tests."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import built_once
from tests.engines.runs import COMMANDS, build, write_inputs


@pytest.fixture(scope="session")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Command → its run by one process."""
    folder = built_once(tmp_path_factory, "singles", build)
    return {command: folder / command for command in COMMANDS}


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the inputs is the current one."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
