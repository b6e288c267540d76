"""Progress on standard error: a bar on a terminal, a line every 30 seconds in a pipe or a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from threading import Event, Thread
from typing import Any

from rich.progress_bar import ProgressBar
from rich.table import Table

from actkit.cli.screen.console import console, counted
from actkit.runs.progress import Progress, Step

EVERY = 30.0
"""Seconds between lines where there is no terminal."""
STAGES = {
    "": "loading the model",
    "read": "reading",
    "tokenize": "reading",
    "finish": "computing the statistics",
    "verify": "computing the first records again",
}
"""Part of the work → its name on the screen; every other part of a run is `computing`."""
WIDEST = 30
"""Columns of the bar, where the terminal has them."""


class ProgressLine:
    """The line of progress, computed anew whenever it is drawn, since a part of the work may take long."""

    def __init__(self, now: Callable[[], Step | None], unit: str = "record") -> None:
        self._now, self._unit = now, unit
        self._stage, self._began, self._first = "", time.monotonic(), Step("")

    def __rich_console__(self, screen: Any, options: Any) -> Iterator[Any]:
        stage, bar, said = self.parts()
        grid = Table.grid(padding=(0, 1))
        left = options.max_width - len(stage) - len(said) - 6
        if bar is None or left < 8:
            grid.add_row(stage, said)
        else:
            grid.add_row(stage, ProgressBar(total=1.0, completed=bar, width=min(left, WIDEST)), said)
        yield grid

    def __str__(self) -> str:
        stage, _, said = self.parts()
        return f"{stage}: {said}" if said else stage

    def parts(self) -> tuple[str, float | None, str]:
        """Return the stage, the share that is done where it is known, and the figures."""
        step = self._now()
        if step is None:
            return STAGES[""], None, ""
        stage = STAGES.get(step.stage, step.stage if self._unit == "%" else "computing")
        if stage != self._stage:
            if {stage, self._stage} != {"reading", "computing"}:  # these two alternate, shard by shard
                self._began, self._first = time.monotonic(), step
            self._stage = stage
        seconds = max(time.monotonic() - self._began, 1e-9)
        share = None if not step.total else min(step.done / step.total, 1.0)
        if step.stage == "finish":
            return stage, None, f"{counted(int(step.done), self._unit)} computed, {_clock(seconds)}"
        return stage, share, ", ".join(self._figures(step, seconds))

    def _figures(self, step: Step, seconds: float) -> Iterator[str]:
        rate, tokens = (step.done - self._first.done) / seconds, (step.tokens - self._first.tokens) / seconds
        if self._unit == "%":
            yield f"{step.done / (step.total or 1):.0%}"
        else:
            total = "" if step.total is None else f"/{int(step.total):,}"
            yield f"{int(step.done):,}{total} {self._unit}s"
        if rate > 0 and self._unit != "%":
            yield f"{rate:,.3g}/s"
            yield f"{tokens:,.0f} tokens/s"
        if rate > 0 and step.total:
            yield f"{_clock((step.total - step.done) / rate)} left"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


@contextmanager
def shown(quiet: bool, now: Callable[[], Step | None], unit: str = "record") -> Iterator[None]:
    """Show the step of the work that `now` returns, until the context ends; show nothing with --quiet."""
    line = ProgressLine(now, unit)
    with nullcontext() if quiet else console().status(line) if sys.stderr.isatty() else _lines(line):
        yield


@contextmanager
def _lines(drawn: ProgressLine) -> Iterator[None]:
    ended, context = Event(), copy_context()

    def tell() -> None:
        while not ended.wait(EVERY):
            with suppress(OSError, ValueError):  # standard error may be closed
                context.run(console().print, str(drawn), markup=False)

    thread = Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def progress_shown(quiet: bool, unit: str = "record") -> Iterator[Callable[[Progress], None]]:
    """Show the progress of a run: yields a function that takes its `Progress`."""
    held: list[Progress] = []

    def show(progress: Progress) -> None:
        held[:] = [progress]

    with shown(quiet, lambda: held[0].step if held else None, unit):
        yield show


@contextmanager
def share_shown(quiet: bool, stage: str) -> Iterator[Callable[[float], None]]:
    """Show the progress of work: yields a function that takes the share done, 0 to 1."""
    share = 0.0

    def show(done: float) -> None:
        nonlocal share
        share = done

    with shown(quiet, lambda: Step(stage, share, 1.0), "%"):
        yield show


def with_notes(
    on_progress: Callable[[Progress], None], beginning: Callable[[], str | None]
) -> Callable[[Progress], None]:
    """Print each note of a run once; `beginning`'s line comes first, once the run has begun."""
    said, has_begun = 0, False

    def show(progress: Progress) -> None:
        nonlocal said, has_begun
        line, has_begun = None if has_begun else beginning(), True
        if line is not None:
            console().print(line, markup=False)
        for note in progress.notes[said:]:
            console().print(note, markup=False)
        said = len(progress.notes)
        on_progress(progress)

    return show
