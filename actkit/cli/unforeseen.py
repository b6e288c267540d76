"""An error that nobody foresaw: one sentence on the screen, and its traceback in a file.

The file is the log of the current run, or, where there is none, a file in the folder for temporary files.
`ACTKIT_TRACEBACK=1` and `--log-level debug` print the traceback too.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from actkit.errors import ActkitError, in_short, printable
from actkit.remote.url import publicly

PRINTED = "ACTKIT_TRACEBACK"
"""Environment variable that makes tracebacks appear on the screen."""
WHERE, LOUD = "actkit_traceback_in", "actkit_traceback_printed"
"""Attributes of an exception on its way out: the log that has its traceback, and whether to print it too."""
MOST = 300
"""Most characters of an exception's message that are shown: some contain a whole array."""


def is_unforeseen(error: BaseException) -> bool:
    """Whether an exception is a fault: no error of actkit's, and none by which typer ends a command or tells usage."""
    return not isinstance(error, (ActkitError, typer.Exit, typer.Abort)) and not hasattr(error, "format_message")


def leave_in_log(error: BaseException, add: Callable[[str], Path | None], loud: bool) -> None:
    """Write the traceback into a run's log, once for each exception; `add` returns the log's path if there is one."""
    if is_unforeseen(error) and not hasattr(error, WHERE):
        setattr(error, LOUD, loud)
        path = add(_text(error))
        if path is not None:
            setattr(error, WHERE, path)


def printed(error: BaseException) -> bool:
    """Print the traceback where `--log-level debug` or the variable asks for it; return whether it was printed."""
    asked = getattr(error, LOUD, False) or os.environ.get(PRINTED, "0") not in ("", "0")
    if asked:
        sys.stderr.write(printable(_text(error), "\n"))
    return asked


def said(error: BaseException, is_printed: bool) -> tuple[str, str]:
    """Return the sentence and the hint, which names the file with the traceback unless the traceback is printed."""
    if is_printed:
        return _sentence(error), f"{_what_to_do(error)}its traceback is above"
    path = getattr(error, WHERE, None) or _in_a_file(_text(error))
    kept = f"its traceback is in {path}, and " if path else ""
    return _sentence(error), f"{_what_to_do(error)}{kept}{PRINTED}=1 prints it here"


def is_memory(error: BaseException) -> bool:
    """Whether there was too little memory; torch says so with a RuntimeError."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def _sentence(error: BaseException) -> str:
    at = _place(error)
    if is_memory(error):
        return f"out of memory{at}"
    if isinstance(error, RecursionError):
        return f"something is nested too deeply{at}"
    said = in_short(" ".join(publicly(str(error)).split())[:MOST])
    return f"unforeseen {type(error).__name__}{at}{f': {said}' if said else ''}"


def _what_to_do(error: BaseException) -> str:
    if is_memory(error):
        return "smaller --batch-tokens and --shard-sequences take less; what was finished is kept for --resume; "
    return "this is a fault of actkit, or of a library; "


def _place(error: BaseException) -> str:
    """The innermost line of actkit's own code in the traceback, as ` in actkit/file.py:line`."""
    root = str(Path(__file__).parents[1])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(root):
            return f" in {Path(frame.filename).relative_to(Path(root).parent)}:{frame.lineno}"
    return ""


def _text(error: BaseException) -> str:
    return publicly("".join(traceback.format_exception(error)))


def _in_a_file(text: str) -> Path | None:
    """Write the traceback into a temporary file, and return its path; None where it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="actkit-", suffix=".traceback.txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
        return Path(file.name)
    except (OSError, MemoryError):
        return None
