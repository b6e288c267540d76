"""`run.log`: what the console said, with its time and level, as soon as the run has a directory; it stops no run."""

import logging
from pathlib import Path

import pytest

from actkit.cli.log import CURRENT, RunLog, level_of, logged, shows
from actkit.errors import RunError, UsageError
from actkit.remote.path import RemotePath


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def begin(out: Path) -> Path:
    folder = out.with_name("run.partial")
    folder.mkdir()
    (folder / "fingerprint.json").write_text("{}")
    return folder / "run.log"


def lines(path: Path) -> list[str]:
    """Without their time, which is of 19 characters."""
    return [line[20:] for line in path.read_text().splitlines()]


def test_lines_wait_until_there_is_a_directory(out: Path) -> None:
    log = RunLog(out, logging.INFO)
    assert log.add("first\n\n  second  ") is None and not out.exists()
    path = begin(out)
    assert log.add("loud", logging.WARNING) == path
    assert lines(path) == ["INFO     first", "INFO       second", "WARNING  loud"]
    assert log.flush() is None, "nothing is written twice"
    out.with_name("run.partial").rename(out)
    assert log.add("after") == out / "run.log" and lines(out / "run.log")[-1] == "INFO     after"


def test_what_a_terminal_would_obey_is_escaped(out: Path) -> None:
    path = begin(out)
    RunLog(out, logging.INFO).add("a\x1b[2Jb \ud83d")
    assert lines(path) == ["INFO     a\\x1b[2Jb \\ud83d"]


def test_a_log_that_cannot_be_written_stops_nothing(out: Path) -> None:
    path = begin(out)
    path.mkdir()
    log = RunLog(out, logging.INFO)
    assert log.add("x") is None
    path.rmdir()
    assert log.add("y") == path and lines(path) == ["INFO     x", "INFO     y"], "it is tried again"
    assert RunLog(Path("a\0b"), logging.INFO).add("x") is None
    assert RunLog(RemotePath("s3://bucket/x"), logging.INFO).add("x") is None


def test_levels_by_their_names() -> None:
    assert (level_of(None, False), level_of(None, True)) == (logging.INFO, logging.DEBUG)
    assert level_of("warning", True) == logging.WARNING and level_of("CRITICAL", False) == logging.CRITICAL
    with pytest.raises(UsageError, match="log_level loud: there is no such level") as error:
        level_of("loud", False)
    assert error.value.hint == "levels are DEBUG, INFO, WARNING, ERROR, CRITICAL"


def test_inside_the_log_is_the_current_one_and_its_level_counts(out: Path) -> None:
    assert shows(logging.DEBUG) and CURRENT.get() is None
    with logged(out, logging.WARNING) as log:
        assert CURRENT.get() is log and not shows(logging.INFO) and shows(logging.WARNING)
    assert CURRENT.get() is None


def test_what_a_run_ends_in_is_in_its_log(out: Path) -> None:
    path = begin(out)
    with pytest.raises(RunError), logged(out, logging.INFO):
        raise RunError("the disk is full", "make room")
    assert lines(path)[-2:] == ["ERROR    error: the disk is full", "ERROR    hint: make room"]
    with pytest.raises(KeyboardInterrupt), logged(out, logging.INFO):
        raise KeyboardInterrupt
    assert len(lines(path)) == 2 and CURRENT.get() is None
    with pytest.raises(ZeroDivisionError), logged(out, logging.INFO):
        raise ZeroDivisionError("division by zero")
    assert any("division by zero" in line for line in lines(path))
