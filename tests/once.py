"""Replace work that is the same in every test and costs more than most tests; `conftest.py` puts it in place.

Other tests check the replaced code: `runs/test_atomic_files.py` looks at the disk before files are renamed,
`pipeline/tokens/test_templates.py` starts processes of its own, `backends/test_model_files.py` cuts files short.
"""

import os
from collections.abc import Callable
from functools import cache

import pytest

from actkit.backends import Description, hugging_face
from actkit.pipeline.tokens import templates


def on_disk_in_time(patch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for the disk: a run would wait some twenty times, and tests need not survive a power failure."""
    patch.setattr(os, "fsync", lambda descriptor: None)


def templates_in_one_process(patch: pytest.MonkeyPatch) -> None:
    """Let one process render the chat templates of all runs, which each start one; a forked process has its own."""
    start = templates.TemplateProcess
    of = cache(lambda _pid: start())
    patch.setattr(templates, "TemplateProcess", lambda: of(os.getpid()))


def sizes_once(patch: pytest.MonkeyPatch) -> None:
    """Compute the bytes of each model's weights once, since that builds a model without memory."""
    usual = hugging_face.whole_bytes

    def whole_bytes(description: Description) -> int:
        config = description.config
        key = (type(config), config.to_json_string(use_diff=False), description.spec.dtype)
        if key not in SIZES:
            SIZES[key] = usual(description)
        return SIZES[key]

    patch.setattr(hugging_face, "whole_bytes", whole_bytes)


SIZES: dict[object, int] = {}
"""Class and text of a configuration, and dtype → bytes."""
IN_PLACE: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (on_disk_in_time, templates_in_one_process, sizes_once)
