"""`run.log`, the log of a run: every line of the console, with its time, and each rejected record.

Lines are written as they come, into the run's directory as soon as there is one. `verify` does not look at them.
`--log-level` decides what the console shows; the log has everything.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from actkit.cli.unforeseen import leave_in_log
from actkit.errors import UsageError, printable
from actkit.remote.path import RemotePath
from actkit.remote.url import publicly

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LABELS = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "hint": logging.ERROR}
"""Label of a line on the console → its level."""


class RunLog:
    """The log of one run. Lines that come before its directory exists wait until it does."""

    def __init__(self, out: Path, level: int) -> None:
        self.out, self.level = out, level
        self._waiting: list[str] = []

    def add(self, text: str, level: int = logging.INFO) -> Path | None:
        """Add a line, or several, to the log. Returns the log's path, or None while the lines wait."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        name = logging.getLevelName(level)
        self._waiting += [
            f"{stamp} {name:<8} {printable(line.rstrip())}\n" for line in text.splitlines() if line.strip()
        ]
        return self.flush()

    def flush(self) -> Path | None:
        """Write the waiting lines, where the run has a directory. A log that cannot be written stops no run."""
        from actkit.runs.paths import FINGERPRINT, LOG_FILE, partial_of

        if isinstance(self.out, RemotePath):  # a run in a store has its log already
            return None
        try:
            folder = next((path for path in (partial_of(self.out), self.out) if (path / FINGERPRINT).is_file()), None)
            if folder is None or not self._waiting:
                return None
            with (folder / LOG_FILE).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(self._waiting)
        except (OSError, ValueError):  # an impossible name is reported by the run, not by its log
            return None
        self._waiting = []
        return folder / LOG_FILE


CURRENT: ContextVar[RunLog | None] = ContextVar("run_log", default=None)
"""The log of the current run, where there is one."""


def level_of(name: str | None, verbose: bool) -> int:
    """The level from which the console shows lines. Raises UsageError for an unknown level."""
    if name is None:
        return logging.DEBUG if verbose else logging.INFO
    if name.upper() not in LEVELS:
        raise UsageError(f"--log-level {name}: there is no such level", f"levels are {', '.join(LEVELS)}")
    return int(logging.getLevelNamesMapping()[name.upper()])


def shows(level: int) -> bool:
    """Whether the console shows a line of this level."""
    current = CURRENT.get()
    return current is None or level >= current.level


@contextmanager
def logged(out: Path, level: int) -> Iterator[RunLog]:
    """Copy every line that the console prints inside into the log of the run at `out`."""
    log = RunLog(out, level)
    token = CURRENT.set(log)
    try:
        yield log
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        leave_in_log(error, lambda text: log.add(text, logging.ERROR), level <= logging.DEBUG)
        message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
        log.add(f"error: {publicly(message)}", logging.ERROR)
        if hint:
            log.add(f"hint: {publicly(hint)}", logging.ERROR)
        raise
    finally:
        log.flush()
        CURRENT.reset(token)
