"""Runs that a signal ends: the signals, their exit statuses, and the line that continues such a run."""

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from actkit.config import Task
from actkit.errors import ActkitError, WriteError

INTERRUPTED = 130
"""Exit status after Ctrl-C."""
ENDED_BY = {"SIGTERM": "ended", "SIGHUP": "the terminal was closed"}
"""Signal that asks a process to end, apart from Ctrl-C's → the words of an error about it."""
ARGUMENTS: ContextVar[Sequence[str]] = ContextVar("arguments", default=())
"""The command line of this call, without the program's name."""


class Terminated(BaseException):
    """A signal `number` asked the process to end: like a KeyboardInterrupt, this is no error of the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.says = ENDED_BY[signal.Signals(number).name]
        self.exit_status = 128 + number


class StoppedError(ActkitError):
    """The run was interrupted; the hint says how to continue it."""

    def __init__(self, message: str, hint: str, exit_status: int) -> None:
        super().__init__(message, hint)
        self.exit_status = exit_status


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into an exception; a second one ends the process at once.

    Even that loses nothing that was finished. Signals that are ignored, as under `nohup`, stay ignored. Yields the list
    of signals that have arrived.
    """
    arrived: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        arrived.append(number)
        for caught in before:
            signal.signal(caught, signal.SIG_DFL)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    # Windows has no SIGHUP.
    wanted = (signal.SIGINT, *(getattr(signal, name) for name in ENDED_BY if hasattr(signal, name)))
    before = {number: signal.getsignal(number) for number in wanted if signal.getsignal(number) is not signal.SIG_IGN}
    for caught in before:
        signal.signal(caught, interrupt)
    try:
        yield arrived
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


def what_is_kept(resumes: bool) -> str:
    """Say what an ended command leaves, where no run had begun; `resumes`: the command takes `--resume`."""
    if resumes:
        return "what was finished is kept; with --resume, the command goes on"
    return "nothing that it had finished is lost, and no file is left half written; the same command begins anew"


def continuing_line(out: Path | None) -> str:
    """The command line that continues this one: with `--resume`, without `--overwrite`, and with `out` if given."""
    kept = [argument for argument in ARGUMENTS.get() if argument not in ("--overwrite", "--resume")]
    return shlex.join(["actkit", *kept, *(("--out", str(out)) if out is not None else ()), "--resume"])


def _kept(out: Path) -> str | None:
    """Say how many shards of the run at `out` are finished, or that all of it is; None where no shard is."""
    from actkit.runs.manifest import manifests
    from actkit.runs.paths import is_run, partial_of, task_of
    from actkit.runs.tasks import divisions

    if is_run(out):
        return f"the whole run is kept in {out}"
    tasks = [task_of(out, number, of) for of, numbers in divisions(out).items() for number in numbers]
    task = Task(0, 1) if tasks else None
    found = [manifest for path in (out, *tasks) for manifest in manifests(partial_of(path), task)[0]]
    if not found:
        return None
    where = partial_of(Path(f"{out.name}.*-of-*")) if tasks else partial_of(out)
    shards = "1 finished shard" if len(found) == 1 else f"{len(found):,} finished shards"
    return f"{shards} of {sum(manifest.progress.read for manifest in found):,} records are kept in {where}"


@contextmanager
def continuing(out: Path, is_named: bool) -> Iterator[None]:
    """Say how to continue the run at `out` where it is interrupted or finds no room.

    `is_named`: the command line names `out`. Raises StoppedError, whose hint says how to continue, for Ctrl-C and the
    signals in `ENDED_BY`.
    """
    line = continuing_line(None if is_named else out)
    if "-" in ARGUMENTS.get():
        line += "  (with the same standard input)"
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        by, status = (error.says, error.exit_status) if isinstance(error, Terminated) else ("interrupted", INTERRUPTED)
        kept = _kept(out)
        if kept is None:
            by, hint = f"{by} before a shard was finished", "nothing is kept; the same command begins anew"
            raise StoppedError(by, hint, status) from error
        raise StoppedError(f"{by}; {kept}", f"--overwrite starts again; to continue: {line}", status) from error
    except WriteError as error:
        error.hint = f"{error.hint} when that is mended, continue: {line}"
        raise
