"""Every test in a folder of its own, as a user has one; the bundled model, described once."""

from pathlib import Path

import pytest

import actkit


@pytest.fixture(scope="session")
def tiny() -> actkit.ModelSpec:
    return actkit.load_model("tiny", device="cpu")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
