"""`--shard auto` on one machine: the workers are child processes, one for each GPU.

`CUDA_VISIBLE_DEVICES` gives a child its own GPU. A session of its own keeps Ctrl-C from it: this process alone gets
that, and ends the child. The child reads its work from standard input, and ends when that is closed. It writes its
answer and its output to files in a folder of its own.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from actkit.config import Task
from actkit.engines import child as program
from actkit.engines.driver import Common, Own, Pool, RunCommand, run_shared
from actkit.engines.work import DiedError, Work
from actkit.errors import ActkitError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.runs.progress import OnProgress
from actkit.runs.tasks import divisions

ANSWER, PRINTED = "answer", "printed"
"""Files in a child's folder."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.05
"""Seconds between checks for children that have ended."""
SAID = 200
"""Most characters of a dead child's last line of output that an error repeats."""
FLAG = "--shard auto"


def run_on_children(
    run: RunCommand[Own, Common],
    workers: int | None,
    own: Own,
    common: Common,
    on_progress: OnProgress = lambda _progress: None,
    part: Task | None = None,
) -> Finished:
    """Run a command's function in a process for each GPU, or in `workers` processes, and merge their shares.

    `part` is this task, where several tasks divide the run; then this process merges nothing.

    With a single GPU, and a run that is not divided already, this process does all the work. Raises UsageError where
    neither GPUs nor `workers` give a number of processes, and what `run_shared` raises.
    """
    spec = getattr(common, "model", None)
    device = str(getattr(common, "device", None) or getattr(spec, "device", "auto"))
    if device.startswith("cuda:"):
        raise UsageError(
            f"{FLAG} gives each process a GPU of its own, and --device {device} names one",
            f"leave out --device; {VISIBLE} says which GPUs are taken",
        )
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if not gpus and workers is None:
        raise UsageError(
            f"{FLAG}: no scheduler says which task this is, and there is no GPU to have a process each",
            f"{FLAG} --workers 4 starts four processes; or --shard 0/4 is the first of four tasks",
        )
    output = common.output
    if len(gpus) == 1 and workers in (None, 1) and not divisions(output.out) and part is None:
        return run(own, common, on_progress)
    return run_shared(partial(_children, rooms(gpus, workers)), FLAG, run, own, common, on_progress, part)


def take_gpu(place: int, device: str) -> None:
    """Limit this process, number `place` of several on this machine, to one GPU: else each would take the first.

    Call it before anything computes on a GPU. A device that the user has named stays.
    """
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if len(gpus) > 1:
        os.environ[VISIBLE] = gpus[place % len(gpus)]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, named as in `CUDA_VISIBLE_DEVICES`."""
    import torch

    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]


def rooms(gpus: Sequence[str], workers: int | None) -> list[dict[str, str]]:
    """The environment variables of each worker: its GPUs, if there are any.

    With more GPUs than workers, each worker has several; with fewer, some share a GPU. CPU threads are not divided:
    with another number of threads, numbers may differ from those of a single process in the last digit.
    """
    n = workers or len(gpus)
    if not gpus:
        return [{}] * n
    each = max(len(gpus) // n, 1)
    first = [number * each % len(gpus) for number in range(n)]
    return [{VISIBLE: ",".join(gpus[at : at + each])} for at in first]


@contextmanager
def _children(rooms: Sequence[Mapping[str, str]]) -> Iterator[Pool]:
    with tempfile.TemporaryDirectory(prefix="actkit-children-", ignore_cleanup_errors=True) as folder:
        yield _Children(Path(folder), deque(rooms), len(rooms))


@dataclass
class _Children:
    """A `Pool` of child processes; work waits while every room (the GPUs of a worker) is taken."""

    folder: Path
    rooms: "deque[Mapping[str, str]]"
    workers: int
    waiting: "deque[tuple[int, Work]]" = field(default_factory=deque)
    running: "dict[int, tuple[subprocess.Popen[bytes], Mapping[str, str]]]" = field(default_factory=dict)
    """Number of a worker → its process and its room."""
    statuses: dict[int, int] = field(default_factory=dict)
    begun: int = 0

    def begin(self, work: Work) -> Any:
        self.begun += 1
        self.waiting.append((self.begun, work))
        self._fill()
        return self.begun

    def ended(self, seconds: float) -> Collection[Any]:
        deadline = time.monotonic() + seconds
        while True:
            done = [number for number, (process, _) in self.running.items() if process.poll() is not None]
            for number in done:
                process, room = self.running.pop(number)
                self.statuses[number] = _status(process)
                self.rooms.append(room)
            self._fill()
            if done or time.monotonic() >= deadline:
                return done
            time.sleep(PAUSE)

    def result(self, worker: Any) -> ActkitError | None:
        status, folder = self.statuses.pop(worker), self.folder / str(worker)
        if status != 0 or not (folder / ANSWER).exists():
            raise DiedError(_how(status, (folder / PRINTED).read_bytes()))
        answer: BaseException | None = pickle.loads((folder / ANSWER).read_bytes())
        if answer is None or isinstance(answer, ActkitError):
            return answer
        raise answer

    def stop(self) -> None:
        self.waiting.clear()
        for process, _ in self.running.values():
            process.kill()
        for process, _ in self.running.values():
            _status(process)
        self.running.clear()

    def _fill(self) -> None:
        while self.waiting and self.rooms:
            number, work = self.waiting.popleft()
            room = self.rooms.popleft()
            self.running[number] = self._started(number, work, room), room

    def _started(self, number: int, work: Work, room: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        folder = self.folder / str(number)
        folder.mkdir()
        with (folder / PRINTED).open("wb") as printed:
            process = subprocess.Popen(
                # -P: a file in this folder with the name of a library is not imported instead of it.
                [sys.executable, "-P", program.__file__, str(folder / ANSWER)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={**os.environ, **room},
                start_new_session=True,
            )
        with suppress(BrokenPipeError):  # it has ended already, which `ended` finds
            cast("IO[bytes]", process.stdin).write(pickle.dumps(sys.path) + pickle.dumps(work))
        return process


def _status(process: "subprocess.Popen[bytes]") -> int:
    """Wait until a child has ended; return its exit status."""
    cast("IO[bytes]", process.stdin).close()
    return process.wait()


def _how(status: int, printed: bytes) -> str:
    """Describe how a child ended, with the last line of its output."""
    how = f"exit status {status}"
    if status < 0:
        with suppress(ValueError):
            how = signal.Signals(-status).name
        how += ", as where memory runs out" if -status == signal.SIGKILL else ""
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"{how}: {lines[-1][:SAID]}" if lines else how
