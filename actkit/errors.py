"""Errors that a user can act on, as a tree.

    ActkitError             an expected failure: one sentence and a hint; exit status 1
    ├── UsageError          an option or a configuration file is wrong; exit status 2
    ├── ModelError          a model or an SAE cannot be loaded, or does not have what was asked for
    ├── InputError          input that cannot be read at all, or the first bad record under `--on-bad-record fail`
    ├── NonFiniteError      a NaN, an infinity or an overflow in something about to be written
    └── RunError            a run directory is in the way, or the finished counts do not reconcile
        └── WriteError      the disk is full or cannot be written to

    RecordError             one record is bad: the run rejects it, with field and reason, and goes on

An `ActkitError` is drawn as `error: …`, a blank line, `hint: …`; a user never sees a traceback for one. Both texts name
options by their flags. From Python, `str(error)`, which a traceback shows, names the parameters.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

FLAG = re.compile(r"(?<![\w-])--(?!(?:help|upgrade|force-reinstall|python)\b)([a-z][a-z-]*[a-z])\b(?!:\d)")
"""An option of actkit. `--prompt:2` is none, but a record's place; nor are `--help` and the options of pip and uv."""
OTHER_NAMES = {"from": "from_run", "hook-point": "hook_points", "no-chat": "chat=False"}
"""Options whose parameter is not called like the flag with `_` for `-`."""


def in_python(text: str) -> str:
    """Replace the options in a text by their parameters: `dtype float32` for `--dtype float32`."""
    return FLAG.sub(lambda found: OTHER_NAMES.get(found[1], found[1].replace("-", "_")), text)


class ActkitError(Exception):
    """An expected failure: `message` says what is wrong in one sentence, `hint` what to do about it."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return in_python(self.message + hint)


class UsageError(ActkitError):
    """An option, an argument or a configuration file is wrong."""

    exit_status = 2


class ModelError(ActkitError):
    """A model or an SAE cannot be loaded, or does not have the hook point, layer or template that was asked for."""


class InputError(ActkitError):
    """Input that cannot be read at all, or a bad record when bad records are fatal."""


class NonFiniteError(ActkitError):
    """A NaN, an infinity or a value that the stored type cannot hold, with record, hook point and position."""

    def __init__(
        self, message: str, hint: str = "", sequence_id: int = -1, position: int | None = None, spreads: bool = True
    ) -> None:
        super().__init__(message, hint)
        self.sequence_id = sequence_id
        self.position = position
        self.spreads = spreads
        """Whether the value may also be in other texts of the row, and at other tokens, than the one that caused it."""


class RunError(ActkitError):
    """A run directory is in the way, nothing was kept, or the counts do not reconcile."""


class WriteError(RunError):
    """The disk is full or cannot be written to: when that is mended, the run can go on."""


@contextmanager
def writing(what: Path | str, own: Collection[Path] = ()) -> Iterator[None]:
    """Turn the system's error about writing `what` into a WriteError: one sentence and a hint.

    `own` may name the files that are written; an error about any other file is then raised unchanged.
    """
    try:
        yield
    except OSError as error:
        if own and isinstance(error.filename, str) and Path(error.filename) not in own:
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        raise WriteError(f"cannot write {what}: {why}", "is the disk full or read-only?") from error


class RecordError(Exception):
    """One record cannot be used: `field` names the part of it that is at fault, `reason` says why.

    `found` is the value there, in short, for reasons that many records share, such as a label without a meaning.
    """

    def __init__(self, field: str | None, reason: str, found: str = "") -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.found = found


def own_python() -> str:
    """Return the command of the Python that has actkit's packages, to paste: `python` where a shell finds that one."""
    found = shutil.which("python")
    own = found is not None and Path(found).parent == Path(sys.executable).parent
    return "python" if own else shlex.quote(sys.executable)


def pip_install(what: str) -> str:
    """Return the line that installs `what` into actkit's environment; in a tool's environment, `pip` serves another."""
    python = own_python()
    if python == "python":
        return f"pip install {what}"
    if find_spec("pip") is None:  # uv makes environments without pip
        return f"uv pip install --python {python} {what}"
    return f"{python} -m pip install {what}"


SHOWN = 240
"""Characters of a name in an error."""
NO_BREAK = "\u00a0"
"""The no-break space in numbers that actkit writes. `str.isprintable` denies it, but no terminal obeys it."""


def printable(text: str, kept: str = "") -> str:
    """Escape every character that a terminal might obey, except those in `kept`.

    Names and values may come from anybody.
    """
    if text.isprintable():
        return text
    kept += NO_BREAK
    return "".join(
        character if character.isprintable() or character in kept else ascii(character)[1:-1] for character in text
    )


def in_short(name: str | Path) -> str:
    """Put a name on one line, and shorten a long one: somebody may have given a whole text as a name."""
    text = str(name)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def first_line(error: BaseException, most: int = 300) -> str:
    """Return the first line of a foreign error's message, cut to `most` characters; its type where there is none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:most] if lines else type(error).__name__


def did_you_mean(name: str, known: Iterable[str], n: int = 2, cutoff: float = 0.5) -> str:
    """Return the beginning of a hint: the known names nearest to `name`; empty where none is near."""
    from difflib import get_close_matches  # only errors need it

    near = get_close_matches(name, list(known), n=n, cutoff=cutoff)
    return f"did you mean {' or '.join(in_short(each) for each in near)}? " if near else ""


def listed(names: Sequence[str], most: int) -> str:
    """List names as `a, b and 4 more`, at most `most` of them by name."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
