"""A progress bar in a notebook; nothing where Python runs a script or a terminal."""

import html
import importlib
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actkit.runs.progress import OnProgress, Progress, Step

EVERY = 0.3
"""Seconds between updates: each is a message to the browser."""


@contextmanager
def notebook_bar() -> Iterator[OnProgress]:
    """Yield a function that shows a run's `Progress` in the notebook's cell; the bar goes when the run is done."""
    display = _display()
    if display is None:
        yield lambda _progress: None
        return
    began = last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            display.update(Bar(progress.step, last - began))

    try:
        yield show
    finally:
        display.update(Bar(Step(""), 0.0))


class Bar:
    """A bar as HTML and as text; empty for a step of no stage."""

    def __init__(self, step: Step, seconds: float) -> None:
        self.step, self.seconds = step, seconds

    def __repr__(self) -> str:
        if not self.step.stage:
            return ""
        total = "" if self.step.total is None else f"/{int(self.step.total):,}"
        rate = self.step.tokens / max(self.seconds, 1e-9)
        return f"{self.step.stage}: {int(self.step.done):,}{total} records, {rate:,.0f} tokens/s, {self.seconds:.0f} s"

    def _repr_html_(self) -> str:
        if not self.step.stage:
            return ""
        known = "" if self.step.total is None else f' value="{self.step.done:.0f}" max="{self.step.total:.0f}"'
        return f"<progress{known}></progress> {html.escape(repr(self))}"


def _display() -> Any:
    """A place in the notebook's cell that can be written again; None outside of a notebook."""
    shell = sys.modules.get("IPython")  # a notebook has imported it
    running = None if shell is None else shell.get_ipython()
    if running is None or getattr(running, "kernel", None) is None:
        return None
    from IPython.display import display

    with warnings.catch_warnings():
        # tqdm, which the model's library imports, asks for widgets that no bar of actkit's needs, once.
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")
    return display(Bar(Step("loading the model"), 0.0), display_id=True)
