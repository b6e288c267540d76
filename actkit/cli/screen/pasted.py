"""Lines in hints as they can be pasted: with the name of the file that this call reads."""

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path

INPUT: ContextVar[str | None] = ContextVar("input", default=None)
"""The first argument of the command that this call runs, or the file that a command reads in its place."""
PLACE = re.compile(r"(--[\w-]+ )?\b(FILE|NEW(?!\.))\b")
"""Where a line names the file that is read, or what is made of it; `--answers FILE` is another file."""


def to_paste(text: str) -> str:
    """A hint with the file that is read for FILE, and `name-utf8.csv` beside it for NEW.

    Of a folder or a pattern, no single file of which can be meant, `actkit peek` alone is told.
    """
    given = INPUT.get()
    if given in (None, "", "-"):
        return text
    if not os.path.isfile(given):  # noqa: PTH113 - Path.is_file raises OSError for a text that is too long for a name
        return text.replace("actkit peek FILE", f"actkit peek {shlex.quote(given)}")
    made = Path(given).with_name(f"{Path(given).stem}-utf8{Path(given).suffix}")
    names = {"FILE": shlex.quote(given), "NEW": shlex.quote(str(made))}
    return PLACE.sub(lambda found: found[0] if found[1] else names[found[2]], text)
