"""Ctrl-C, SIGTERM, a second process: what is finished stays, and the message has the line that goes on."""

import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from actkit.runs.manifest import finished
from tests.faults.runs import (
    COMMANDS,
    SHARDS,
    call,
    check_same,
    ended,
    line_in,
    start,
    wait_until_it_writes,
    write_input,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("signals_as_in_a_terminal")]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    write_input(tmp_path / "whole")
    write_input(tmp_path / "part")
    status, _, err = call((*COMMANDS["capture"], *SHARDS, "--out", "a run"), tmp_path / "whole")
    assert status == 0, err
    return tmp_path / "whole" / "a run"


@pytest.mark.parametrize(
    ("number", "status", "says"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended"),
    ],
)
def test_a_signal_keeps_finished_shards_and_says_how_to_continue(
    number: signal.Signals, status: int, says: str, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "part"
    process = start((*COMMANDS["capture"], *SHARDS, "--out", "a run", "--overwrite"), folder)
    wait_until_it_writes(process, folder / "a run.partial", shards=3)
    process.send_signal(number)
    found, out, err = ended(process)
    assert (found, out) == (status, "") and "Traceback" not in err
    assert re.search(rf"error: {says}; (\d+) finished shards of \d+ records are kept in a run.partial\n", err)
    shards, wrong = finished(folder / "a run.partial")
    assert len(shards) >= 3 and wrong == []
    assert not (folder / "a run.partial" / "lock").exists() and not list(folder.rglob("*.tmp"))
    assert line_in(err) == (*COMMANDS["capture"], *SHARDS, "--out", "a run", "--resume")
    status, out, err = call(line_in(err), folder)
    assert (status, out) == (0, "a run\n"), err
    check_same(whole, folder / "a run")
    status, out, err = call((*COMMANDS["capture"], *SHARDS, "--out", "a run", "--resume"), folder)
    assert (status, out) == (0, "a run\n") and "a run is complete already" in err


def test_the_line_names_the_run_that_nobody_named(tmp_path: Path) -> None:
    write_input(tmp_path)
    process = start((*COMMANDS["dpo"], *SHARDS, "-q"), tmp_path)
    while not (runs := list(tmp_path.glob("runs/dpo-*.partial"))):
        assert process.poll() is None
    wait_until_it_writes(process, runs[0], shards=1)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    run = f"runs/{runs[0].stem}"
    assert status == 130 and line_in(err) == (*COMMANDS["dpo"], *SHARDS, "-q", "--out", run, "--resume")
    status, out, err = call(line_in(err), tmp_path)
    assert (status, out, err) == (0, f"{run}\n", "")


def test_a_second_process_on_the_same_run_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    arguments = (*COMMANDS["capture"], *SHARDS, "--out", "a run")
    process = start(arguments, folder)
    wait_until_it_writes(process, folder / "a run.partial", shards=1)
    process.send_signal(signal.SIGSTOP)  # as slow as need be
    who = f"process {process.pid} on {socket.gethostname()}"
    for more in (("--resume",), ("--overwrite",), ()):
        status, out, err = call((*arguments, *more), folder)
        assert (status, out) == (1, "") and f"a run.partial is being written by {who}" in err
    process.send_signal(signal.SIGCONT)
    status, _, err = ended(process)
    assert status == 0, err
    check_same(whole, folder / "a run")


def test_a_line_in_a_shell_is_quoted(tmp_path: Path) -> None:
    process = start(("capture", "-p", "It's $HOME; really?", *(["-p", "x y"] * 400), *SHARDS, "-o", "r"), tmp_path)
    wait_until_it_writes(process, tmp_path / "r.partial", shards=1)
    process.send_signal(signal.SIGTERM)
    _, _, err = ended(process)
    line = err.rpartition("continue: ")[2].strip()
    assert shlex.split(line)[3] == "It's $HOME; really?" and "$HOME" in line
    said = subprocess.run(["sh", "-c", f'set -- {line}; printf %s "$4"'], capture_output=True, text=True, check=True)
    assert said.stdout == "It's $HOME; really?"
