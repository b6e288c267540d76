"""What a worker of a test does; imports little, for a process starts with it."""

import os
import signal
import sys
import time
from pathlib import Path

from actkit.errors import InputError

HANGS = 600
"""Seconds that a worker takes which somebody has to end."""


def look(own: str, _common: object, _on_progress: object) -> None:
    """Leave a file that says what this process was given; then do what it is called after."""
    sys.stdout.write("a library says something\n")
    sys.stdout.flush()
    Path(f"seen-{own}").write_text(f"{os.environ.get('CUDA_VISIBLE_DEVICES')!r} {Path.cwd()}")
    if own == "error":
        raise InputError("in.jsonl:4: not JSON", "mend it")
    if own == "fault":
        raise KeyError("nobody foresaw this")
    if own == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if own == "hangs":
        time.sleep(HANGS)
