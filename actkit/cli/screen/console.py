"""Print lines, tables and errors for people, on standard error; write numbers and sizes; start quickly."""

import gc
import io
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from rich.console import Console
from rich.control import Control
from rich.table import Table
from rich.text import Text

from actkit.cli.log import CURRENT, LABELS, shows
from actkit.cli.streams import end_with_reader
from actkit.errors import printable

ENDLESS = 10_000
"""Columns of the console where there is no terminal."""
READABLE = 100
"""Most columns of a paragraph."""


class LoggedConsole(Console):
    """A console on standard error that also writes to the current run's log."""

    def print(self, *objects: Any, level: int = logging.INFO, **options: Any) -> None:
        """Print on the console if it shows lines of this level; the log gets the line in any case."""
        objects = tuple(printable(each, "\n\t") if isinstance(each, str) else each for each in objects)
        log = CURRENT.get()
        if log is not None and not any(isinstance(each, Control) for each in objects):
            plain = Console(file=io.StringIO(), width=200, no_color=True, highlight=False, force_terminal=False)
            kept = {name: value for name, value in options.items() if name in ("markup", "style", "justify")}
            plain.print(*objects, **kept)
            log.add(plain.file.getvalue(), level)  # type: ignore[attr-defined]
        if shows(level):
            super().print(*objects, **options)


class OutputConsole(Console):
    """A console on standard output. SIGPIPE ends the command when the reader is gone, as where JSON is written."""

    def on_broken_pipe(self) -> None:
        """End the process by the signal; rich would exit with status 1 and without a word."""
        end_with_reader()
        super().on_broken_pipe()


def console() -> LoggedConsole:
    """Make a console on standard error; it has colours only on a terminal and not under NO_COLOR."""
    return LoggedConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(label: str, text: str, style: str = "yellow", screen: Console | None = None, in_one: bool = False) -> None:
    """Print `label: text`. The text is no markup; a terminal breaks it between words, unless it must stay `in_one`."""
    said = Text.assemble((f"{label}:", style), " ", printable(text, "\n\t"))
    if screen is not None:
        screen.print(said, soft_wrap=in_one or None)
    else:
        console().print(said, soft_wrap=in_one or None, level=LABELS.get(label, logging.INFO))


def draw_error(message: str, hint: str) -> None:
    """Print `error: …`, a blank line, `hint: …`."""
    say("error", message, "bold red")
    if hint:
        console().print()
        say("hint", hint, "bold", in_one=True)  # a command that was broken in two cannot be copied from the screen


def draw_table(table: Table, screen: Console | None = None) -> None:
    """Print a table with every cell whole: on a narrow terminal its lines run on, since a cut number is wrong."""
    screen = screen or console()
    before = screen.width
    screen.width = max(before, screen.measure(table, options=screen.options.update(max_width=ENDLESS)).maximum)
    with screen.capture() as drawn:
        Console.print(screen, table)  # drawn, but neither printed nor logged yet
    screen.width = before
    for line in Text.from_ansi(drawn.get()).split("\n"):
        line.rstrip()  # else the blanks of a short line would run on
        screen.print(line, soft_wrap=True)


def explain(text: str, screen: Console, style: str = "dim") -> None:
    """Print a paragraph, such as the legend of a table, in lines of readable length in a pipe too."""
    for line in textwrap.wrap(text, min(screen.width, READABLE), break_long_words=False, break_on_hyphens=False):
        screen.print(line, style=style, markup=False, soft_wrap=True)


Item = TypeVar("Item")


def packed(widths: Iterable[tuple[Item, int]], most: int, gap: int) -> Iterator[list[Item]]:
    """Yield items in order, as many on a line as fit `most` columns with a `gap` between; `widths`: item and width."""
    line: list[Item] = []
    used = 0
    for item, width in widths:
        if line and used + gap + width > most:
            yield line
            line = []
        used = used + gap + width if line else width
        line.append(item)
    if line:
        yield line


def headed(*columns: str, left: Collection[str], narrow: bool = False) -> Table:
    """Make a table without rules, columns right-aligned but for those in `left`; `narrow` for many columns."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0) if narrow else (0, 1))
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def write_json(value: Any) -> None:
    """Write a JSON value as a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def counted(number: int, singular: str, many: str = "") -> str:
    """Write `1 record`, `2 records`; `many` is a plural that an `s` does not make."""
    return f"{number:,} {singular if number == 1 else many or f'{singular}s'}"


def at_work(doing: str, quiet: bool) -> AbstractContextManager[object]:
    """Return a context that shows `doing` on a terminal while its body runs."""
    return nullcontext() if quiet or not sys.stderr.isatty() else console().status(doing)


@contextmanager
def starting(quiet: bool) -> Iterator[None]:
    """Show that the command starts while torch is imported, which takes a second or several."""
    with seldom_searched(), at_work("starting", quiet):
        yield
    _have_arrow_without_pandas()


class _WithoutPandas:
    """A finder of modules that raises for pandas, as if it were not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        """Leave every other module to the finders behind it. Raises ModuleNotFoundError."""
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _have_arrow_without_pandas() -> None:
    """Keep pandas, a tenth of a command's time to start, from being imported until a DataFrame is made.

    pyarrow imports pandas to tell whether the first array that it gets is of pandas. If the import fails, pyarrow tries
    again when a DataFrame is asked for.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder: Any = _WithoutPandas()
    sys.meta_path.insert(0, finder)  # not None in sys.modules, which code compiled by Cython takes for pandas
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)


def figure(value: float | None, form: str = ".2f") -> str:
    """Format a number in this form; `-` for None."""
    return "-" if value is None else format(value, form)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """Write a statistic with its interval if there is one; `unknown` for None."""
    if value is None:
        return "unknown"
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.2f}-{high:.2f})")


def size(n: float) -> str:
    """Write a number of bytes for people, in units of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


SELDOM = 1_000_000
"""New objects before the garbage collector runs (usually 700): about as many as torch and a model make."""


@contextmanager
def seldom_searched() -> Iterator[Callable[[], None]]:
    """Run the garbage collector seldom inside; yields a function that restores its usual threshold earlier.

    Otherwise it takes a fifth of the time in which a command starts. This is for the start alone: later, the garbage
    may be a batch.
    """
    usual = gc.get_threshold()

    def as_usual() -> None:
        gc.set_threshold(*usual)

    if usual[0]:  # 0 where the collector has been turned off
        gc.set_threshold(max(SELDOM, usual[0]), *usual[1:])
    try:
        yield as_usual
    finally:
        as_usual()
