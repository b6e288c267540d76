"""Hints with command lines to paste, which name the file that this call reads."""

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path

from actkit.pipeline.input.packed import packing_of

INPUT: ContextVar[str | None] = ContextVar("input", default=None)
"""The first argument of the command that this call runs, or the file that a command reads in its place."""
PLACE = re.compile(r"(--[\w-]+ |< |(?:peek|tar -xf) )?\b(FILE|NEW(?!\.))\b")
"""Where a hint names the file that is read (FILE), or a file made from it (NEW); `--answers FILE` is another file."""
UNPACKING = ("peek ", "tar -xf ")
"""Words before a file that their command unpacks itself."""


def to_paste(text: str) -> str:
    """Put the file that is read for FILE, unpacked by the shell, and `name-utf8.csv` beside it for NEW into a hint.

    A folder or a pattern is no single file: it replaces FILE in `actkit peek FILE` alone.
    """
    given = INPUT.get()
    if given in (None, "", "-"):
        return text
    if not os.path.isfile(given):  # noqa: PTH113 - Path.is_file raises OSError for a text that is too long for a name
        return text.replace("actkit peek FILE", f"actkit peek {shlex.quote(given)}")
    packing = packing_of(given, b"")
    plain = Path(given).with_suffix("") if packing else Path(given)
    made = plain.with_name(f"{plain.stem}-utf8{plain.suffix}")

    def name(found: re.Match[str]) -> str:
        before = found[1] or ""
        if before.startswith("--"):
            return found[0]
        if found[2] == "NEW":
            return before + shlex.quote(str(made))
        quoted = shlex.quote(given)
        unpacked = f"<({packing.program} -c {quoted})" if packing and before not in UNPACKING else quoted
        return before + unpacked

    return PLACE.sub(name, text)
