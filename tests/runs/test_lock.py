"""A run's lock keeps every live process out, whatever it can see of its owner, and no dead one's is in the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import RunError
from actkit.runs import lock
from actkit.runs.lock import LOCK, holding, locked, refuse_if_locked

HOLD = "import sys, os, pathlib, actkit.runs.lock as l\nwith l.locked(pathlib.Path(sys.argv[1])):\n    "
WAIT = HOLD + "print('held', flush=True); sys.stdin.read()"
TRY = HOLD + "print('taken')"


def python(program: str, folder: Path, *before: str) -> list[str]:
    return [*before, sys.executable, "-c", program, str(folder)]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(python(WAIT, tmp_path), **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def left_by(folder: Path) -> dict[str, Any]:
    """What a process that was killed left in the lock."""
    program = HOLD + "os.kill(os.getpid(), 9)"
    assert subprocess.run(python(program, folder), check=False).returncode == -signal.SIGKILL
    found: dict[str, Any] = json.loads((folder / LOCK).read_text())
    return found


def write(folder: Path, owner: dict[str, Any]) -> None:
    (folder / LOCK).write_text(json.dumps(owner))


def refused(folder: Path) -> RunError:
    with pytest.raises(RunError) as first:
        refuse_if_locked(folder)
    with pytest.raises(RunError) as second, locked(folder):
        pass
    assert first.value.message == second.value.message
    return second.value


def test_another_process_is_named_and_waited_for(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    who = f"{tmp_path} is being written by process {holder.pid} on {socket.gethostname()}"
    assert refused(tmp_path).message == who
    with pytest.raises(RunError, match="is being written"), holding(tmp_path / LOCK, tmp_path, patience=0.1):
        pass
    holder.communicate("")
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        assert refused(tmp_path).message.endswith(f"process {os.getpid()} on {socket.gethostname()}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("has_flock", [True, False])
def test_a_live_owner_in_another_namespace_of_process_ids_is_alive(
    has_flock: bool, holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """As in two containers of one host name: the owner's id means nothing there, or another process."""
    apart = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a namespace needs privileges")
    program = TRY if has_flock else TRY.replace("l\n", "l; l._flock = lambda *_, **__: None\n", 1)
    tried = subprocess.run(python(program, tmp_path, *apart), check=False, capture_output=True, text=True)
    assert "taken" not in tried.stdout and f"is being written by process {holder.pid} on" in tried.stderr


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    assert left_by(tmp_path)["pid"] != os.getpid()
    refuse_if_locked(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_many_that_take_over_at_once_one_succeeds(tmp_path: Path) -> None:
    left_by(tmp_path)
    program = HOLD + "print('taken', flush=True); sys.stdin.read()"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    racers = [subprocess.Popen(python(program, tmp_path), **pipes, text=True) for _ in range(6)]
    losers = [racer for racer in racers if racer.stdout is not None and racer.stdout.readline() == ""]
    assert len(losers) == 5
    for racer in racers:
        _, err = racer.communicate("")
        assert racer not in losers or "is being written by process" in err


def test_without_flock_the_system_is_asked_for_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system has none, and where it has no links either."""
    dead = left_by(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(lock, "_flock", lambda *_, **__: None)
        for links in (True, False):
            if not links:
                patch.setattr(os, "link", lambda *_: exec("raise PermissionError(1, 'no links')"))
            write(tmp_path, {**dead, "flock": False})
            with locked(tmp_path):
                assert refused(tmp_path).message.endswith(f"process {os.getpid()} on {socket.gethostname()}")
            assert list(tmp_path.iterdir()) == []


def test_a_process_that_got_the_number_of_the_owner_is_not_the_owner(tmp_path: Path) -> None:
    with locked(tmp_path):
        own = json.loads((tmp_path / LOCK).read_text())
    if own["started"] is None:
        pytest.skip("this system does not say when a process began")
    write(tmp_path, {**own, "flock": False, "started": own["started"] + "0"})
    with locked(tmp_path):
        pass
    write(tmp_path, own)  # it held a flock, and nobody does now
    with locked(tmp_path):
        pass
    write(tmp_path, {**own, "flock": False})
    assert refused(tmp_path).hint == "wait for it, or end it first"


@pytest.mark.parametrize(("changes", "where"), [({"host": "elsewhere"}, "elsewhere"), ({"namespace": "pid:[1]"}, None)])
def test_an_owner_that_cannot_be_looked_at_is_refused_with_the_way_out(
    changes: dict[str, Any], where: str | None, tmp_path: Path
) -> None:
    dead = left_by(tmp_path)
    if dead["namespace"] is None and where is None:
        pytest.skip("this system has no namespaces")
    write(tmp_path, {**dead, "flock": False, **changes})
    error = refused(tmp_path)
    assert error.message.endswith(f"by process {dead['pid']} on {where or socket.gethostname()}")
    assert error.hint == f"if that process is no more, remove {tmp_path / LOCK}"
    assert (tmp_path / LOCK).exists()


def test_a_lock_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(tmp_path, {"pid": ended.pid, "host": socket.gethostname(), "started": None})
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    write(tmp_path, {"pid": os.getpid(), "host": socket.gethostname(), "started": None})
    refused(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 3}', '{"pid": "x", "host": 3, "started": []}', '{"pid": -1}'])
def test_a_lock_that_says_nothing_holds_nobody_off(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(text)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
