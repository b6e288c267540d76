"""Python's search for garbage while a command starts: what it imports stays, and is gone over again and again else."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SELDOM = 1_000_000
"""New objects after which it searches, about as many as come with torch, transformers and a model; usually 700."""


@contextmanager
def seldom_searched() -> Iterator[Callable[[], None]]:
    """Inside, search seldom; yields a function that ends it before.

    Searching takes a fifth of the time in which a command starts, otherwise. It is for the start alone: later a batch
    may be what is found.
    """
    usual = gc.get_threshold()

    def as_usual() -> None:
        gc.set_threshold(*usual)

    if usual[0]:  # else somebody has turned it off
        gc.set_threshold(max(SELDOM, usual[0]), *usual[1:])
    try:
        yield as_usual
    finally:
        as_usual()
