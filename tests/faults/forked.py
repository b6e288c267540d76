"""Processes of actkit that begin where its imports are done: most of what a process that is soon killed would take.

`python -m tests.faults.forked` imports and waits: for each line of JSON on standard input it answers with a line. A
process that is started is a fork of it, with a folder, an environment and files for its output of its own.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    *("torch", "transformers", "sae_lens", "transformer_lens", "scipy.stats", "sklearn.linear_model", "pandas"),
    *("pyarrow.parquet", "actkit.cli.app", "actkit.pipeline.extract", "actkit.recipes.runner", "actkit.engines"),
)


class Forked:
    """One process, with what the tests use of `subprocess.Popen`."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str]) -> None:
        self._said = tempfile.TemporaryDirectory(prefix="forked-")
        about = {"arguments": arguments, "folder": str(folder), "environment": environment, "said": self._said.name}
        self.pid = int(_ask(about))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, less than 0 for a signal's; None while it runs."""
        if self.returncode is None:
            self.returncode = _ask({"poll": self.pid})
        return self.returncode

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Standard output and standard error, when it has ended."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("actkit", timeout)
            time.sleep(0.01)
        out, err = (Path(self._said.name, name).read_text(encoding="utf-8") for name in ("out", "err"))
        self._said.cleanup()
        return out, err


@cache
def _server() -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTKIT", "COV", "PYTEST"))}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.forked"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )

    def end() -> None:
        server.communicate()

    atexit.register(end)
    return server


def _ask(what: dict[str, Any]) -> Any:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(what) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def main() -> None:
    """Import, then fork and tell of those that ended."""
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer = None if pid == 0 else os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                return _be_child(asked) if "child" in asked else _run(asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def _run(asked: dict[str, Any]) -> None:
    """Be the command line."""
    from actkit.cli.app import main as actkit

    os.environ.clear()
    os.environ.update(asked["environment"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(asked["folder"])
    for descriptor, name in ((0, os.devnull), (1, "out"), (2, "err")):
        with Path(asked["said"], name).open("rb" if descriptor == 0 else "wb") as file:
            os.dup2(file.fileno(), descriptor)
    actkit(asked["arguments"])


class ForkedChild:
    """A process that `actkit.engines.children` starts, with what it uses of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], *, stdout: IO[bytes], env: Mapping[str, str], **_: Any) -> None:
        fifo = Path(command[-1]).with_name("in")
        os.mkfifo(fifo)
        about = {"child": command[-1], "in": str(fifo), "said": stdout.name, "environment": dict(env)}
        self.pid = int(_ask(about))
        self.stdin = os.fdopen(os.open(fifo, os.O_RDWR), "wb", buffering=0)
        self.returncode: int | None = None

    poll, kill = Forked.poll, Forked.kill

    def wait(self) -> int:
        """The exit status, when it has ended."""
        while self.poll() is None:
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode


def _be_child(asked: dict[str, Any]) -> None:
    """Be `actkit.engines.child`."""
    from actkit.engines.child import main as child

    os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    with Path(asked["in"]).open("rb") as given, Path(asked["said"]).open("ab") as said:
        for descriptor, file in ((0, given), (1, said), (2, said)):
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["child", asked["child"]]
    sys.stdin = os.fdopen(0, closefd=False)
    child()


if __name__ == "__main__":
    main()
