"""While a command starts Python searches for garbage seldom; from when its run begins, as usual."""

import gc
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from actkit.cli.screen.console import SELDOM, seldom_searched, starting
from actkit.recipes import capture
from tests.command_line import Run


def test_it_is_as_usual_afterwards_whatever_happens() -> None:
    usual = gc.get_threshold()
    with seldom_searched() as as_usual:
        assert gc.get_threshold() == (SELDOM, *usual[1:])
        as_usual()
        assert gc.get_threshold() == usual
    with suppress(KeyboardInterrupt), starting(quiet=True):
        assert gc.get_threshold()[0] == SELDOM
        raise KeyboardInterrupt
    assert gc.get_threshold() == usual


def test_what_somebody_has_turned_off_stays_off() -> None:
    usual = gc.get_threshold()
    gc.set_threshold(0, *usual[1:])
    try:
        with seldom_searched():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*usual)


def test_a_run_that_has_begun_is_searched_as_usual(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    own = capture.run_capture

    def noted(spec: object, common: object, on_progress: object) -> object:
        seen.append(gc.get_threshold()[0])

        def told(progress: object) -> None:
            on_progress(progress)  # type: ignore[operator]
            seen.append(gc.get_threshold()[0])

        return own(spec, common, told)  # type: ignore[arg-type]

    monkeypatch.setattr(capture, "run_capture", noted)
    usual = gc.get_threshold()[0]
    assert actkit("capture", "--prompt", "hi", "-o", tmp_path / "run", "-q").status == 0
    assert seen[0] == SELDOM and len(seen) > 1 and set(seen[1:]) == {usual} and gc.get_threshold()[0] == usual


def test_arrow_starts_in_a_process_without_pandas_and_finds_it_later() -> None:
    """In a process of its own: here, other tests have imported pandas."""
    program = (
        "import sys\nfrom actkit.cli.screen.console import starting\nwith starting(True):\n    pass\n"
        "import pyarrow as pa\nassert 'pandas' not in sys.modules\npa.table({'a': [1]}).to_pandas()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
