"""Prepare the three standard streams for cron, pipes and old locales before anything is written to them."""

import codecs
import io
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

ESCAPED = "actkit.escaped"
"""The error handler that writes characters that an encoding lacks as JSON does, `\\u2500`: JSON stays JSON."""


def prepare(arguments: Sequence[str]) -> None:
    """Open the streams that were closed, make every character writable, and let no full log end a run.

    Standard output is UTF-8 with `--json`, else in the locale's encoding.
    """
    _open_closed()
    codecs.register_error(ESCAPED, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = "utf-8" if "--json" in arguments else sys.stdout.encoding
        sys.stdout.reconfigure(encoding=encoding, errors=ESCAPED)
    if not isinstance(sys.stderr, _Forgiving):
        screen: Any = _Forgiving(sys.stderr)
        sys.stderr = screen


def silence(stream: TextIO) -> None:
    """Discard the rest of a stream that cannot be written: Python would try again, and fail, when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def end_with_reader() -> None:
    """End the process by SIGPIPE where the reader of standard output is gone (`actkit show RUN | head`); else return.

    The signal otherwise stays ignored, as Python starts with it: it would end the process over any other pipe, too,
    such as a pipe to a process that rendered a template, or a connection that a server closed.
    """
    if not hasattr(select, "poll"):
        return
    with suppress(OSError):
        readers = select.poll()
        readers.register(1, 0)
        if any(event & select.POLLERR for _, event in readers.poll(0)):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)


def _open_closed() -> None:
    """Open standard streams that are closed: otherwise the next file gets number 1 or 2, to which libraries print."""
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name, at, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(at, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for the whole process


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(rf"\u{pair}" for pair in pairs), error.end


class _Forgiving:
    """Standard error that raises nothing when its disk is full: only its text is lost, since results are elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
