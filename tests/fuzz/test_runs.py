"""Unfinished runs of others' making: a sentence, in bounded time, before anything is computed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actkit.errors import ActkitError
from actkit.runs.manifest import finished as finished_shards
from actkit.runs.manifest import manifests
from actkit.runs.removal import check_out
from tests.fuzz.calls import COUNT, FIRST
from tests.fuzz.damage import no_hang
from tests.fuzz.hostile_runs import drawn, make
from tests.verify.conftest import finished  # noqa: F401 - a fixture


@pytest.mark.slow
def test_a_hostile_unfinished_run_ends_in_a_sentence(finished: Callable[[str], Path], tmp_path: Path) -> None:  # noqa: F811
    """What `--resume` and `--overwrite` read before anything is computed."""
    whole = finished("features")
    for number in range(FIRST, FIRST + COUNT):
        run = tmp_path / "x.partial"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        steps = drawn("unfinished", number)
        make(run, *steps)
        with no_hang():
            for resume in (True, False):
                try:
                    check_out(tmp_path / "x", overwrite=not resume, resume=resume)
                except ActkitError as error:
                    assert error.message and error.hint, steps
            found, _ = manifests(run)
            good, wrong = finished_shards(run, unfinished=False)
            assert len(good) <= len(found) and all(text.endswith("computed again") for text in wrong), steps
