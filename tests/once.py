"""What is the same in every test, and costs more than most of them, is done once; `conftest.py` puts it in place.

No test that goes this way claims any of it: `runs/test_atomic_files.py` sees what is on disk before it is renamed, and
`pipeline/tokens/test_templates.py` starts processes of its own.
"""

import os
from collections.abc import Callable
from functools import cache

import pytest

from actkit.pipeline.tokens import templates


def on_disk_in_time(patch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a disk: no power fails while tests run, and a run waits some twenty times."""
    patch.setattr(os, "fsync", lambda descriptor: None)


def templates_in_one_process(patch: pytest.MonkeyPatch) -> None:
    """One process renders the chat templates of all runs, which each start one; a forked process has its own."""
    start = templates.TemplateProcess
    of = cache(lambda _pid: start())
    patch.setattr(templates, "TemplateProcess", lambda: of(os.getpid()))


IN_PLACE: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (on_disk_in_time, templates_in_one_process)
