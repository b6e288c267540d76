"""Runs of single processes, each made once for all of these tests."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.conftest import built_once
from tests.engines.runs import build, write_inputs

Single: TypeAlias = Callable[[str], Path]


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Single:
    """Command → its run by one process."""

    def of(command: str) -> Path:
        found = of("concept") if command == "steer" else None
        return built_once(tmp_path_factory, f"single-{command}", partial(build, command, found)) / command

    return of


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the inputs is the current one."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
