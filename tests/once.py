"""What is the same in every test, and costs more than most of them, is done once; `conftest.py` puts it in place.

No test that goes this way claims any of it: `runs/test_atomic_files.py` sees what is on disk before it is renamed;
`pipeline/tokens/test_templates.py` starts processes of its own; `backends/test_model_files.py` cuts files short.
"""

import os
from collections.abc import Callable
from functools import cache

import pytest

from actkit.backends import Description, hugging_face
from actkit.pipeline.tokens import templates


def on_disk_in_time(patch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a disk: no power fails while tests run, and a run waits some twenty times."""
    patch.setattr(os, "fsync", lambda descriptor: None)


def templates_in_one_process(patch: pytest.MonkeyPatch) -> None:
    """One process renders the chat templates of all runs, which each start one; a forked process has its own."""
    start = templates.TemplateProcess
    of = cache(lambda _pid: start())
    patch.setattr(templates, "TemplateProcess", lambda: of(os.getpid()))


def sizes_once(patch: pytest.MonkeyPatch) -> None:
    """The bytes that a model's weights should have are found once: a model without memory is made for it."""
    usual = hugging_face.whole_bytes

    def whole_bytes(description: Description) -> int:
        config = description.config
        key = (type(config), config.to_json_string(use_diff=False), description.spec.dtype)
        if key not in SIZES:
            SIZES[key] = usual(description)
        return SIZES[key]

    patch.setattr(hugging_face, "whole_bytes", whole_bytes)


SIZES: dict[object, int] = {}
"""Class and text of a configuration, and a dtype → bytes."""
IN_PLACE: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (on_disk_in_time, templates_in_one_process, sizes_once)
