"""The figures that `run.json` states beside what is computed again: readers, pages and the console take them there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
FITTED = ("feature_probes", "dense_probe")
"""Fitted step by step, and ranked: on another processor two texts may change places."""


def differing(stated: Any, again: Any, close: float, where: str) -> Iterator[str]:
    """Each figure under `where` that is not as it is `again`: what it is, and what it should be.

    Numbers may be off by `close` of themselves, those in sentences by one in their last digit. Entries that are not
    computed again are left alone.
    """
    if isinstance(again, Mapping) and isinstance(stated, Mapping):
        for name in (name for name in again if name not in FITTED):
            if name in stated:
                yield from differing(stated[name], again[name], close, f"{where}.{name}")
            else:
                yield f"{where} has no {name}"
    elif _is_list(again) and _is_list(stated) and len(again) == len(stated):
        for number, (old, new) in enumerate(zip(stated, again, strict=True)):
            yield from differing(old, new, close, f"{where}.{number}")
    elif not _is_same(stated, again, close):
        yield f"{where} is {_short(stated)}, not {_short(again)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_same(stated: Any, again: Any, close: float) -> bool:
    if isinstance(again, str) and isinstance(stated, str):
        return stated == again or _reads_alike(stated, again)
    if isinstance(again, bool) or isinstance(stated, bool) or not _is_number(again) or not _is_number(stated):
        return bool(stated == again)
    return bool(np.isclose(float(stated), float(again), rtol=close, atol=1e-9, equal_nan=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def _reads_alike(stated: str, again: str) -> bool:
    """Whether two sentences have the same numbers but for how these were rounded; a name has to be the same."""
    olds, news = (NUMBER.findall(text) for text in (stated, again))
    if " " not in again or len(olds) != len(news):
        return False
    steps = [10.0 ** -len(new.partition(".")[2]) for new in news]
    values = [[float(text.replace(",", "")) for text in texts] for texts in (olds, news)]
    return all(abs(old - new) <= 1.01 * step for old, new, step in zip(*values, steps, strict=True))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
