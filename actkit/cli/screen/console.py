"""Print for a person, on standard error: lines, tables, errors, and how numbers are written."""

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
from actkit.errors import printable

ENDLESS = 10_000
"""Columns where no terminal sets an edge."""
READABLE = 100
"""Columns of a paragraph there."""


class LoggedConsole(Console):
    """Standard error, and the log of the run that is going on."""

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


def console() -> LoggedConsole:
    """Standard error; colours only on a terminal and not under NO_COLOR."""
    return LoggedConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(label: str, text: str, style: str = "yellow", screen: Console | None = None, in_one: bool = False) -> None:
    """Print `label: text`. The text is no markup; a terminal breaks it between words, unless it must stay `in_one`."""
    said = Text.assemble((f"{label}:", style), " ", printable(text, "\n\t"))
    if screen is not None:
        screen.print(said, soft_wrap=in_one or None)
    else:
        console().print(said, soft_wrap=in_one or None, level=LABELS.get(label, logging.INFO))


def draw_error(message: str, hint: str) -> None:
    """`error: …`, a blank line, `hint: …`."""
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
        Console.print(screen, table)  # drawn, and not yet said
    screen.width = before
    for line in Text.from_ansi(drawn.get()).split("\n"):
        line.rstrip()  # or the blanks of a short line would run on
        screen.print(line, soft_wrap=True)


def explain(text: str, screen: Console, style: str = "dim") -> None:
    """A paragraph, such as what a table's words mean, in lines of readable length in a pipe too."""
    for line in textwrap.wrap(text, min(screen.width, READABLE), break_long_words=False, break_on_hyphens=False):
        screen.print(line, style=style, markup=False, soft_wrap=True)


Item = TypeVar("Item")


def packed(widths: Iterable[tuple[Item, int]], most: int, gap: int) -> Iterator[list[Item]]:
    """Items in order, as many on a line as fit `most` columns; `widths` are their own, and a `gap` is between two."""
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
    """A table without lines, its columns to the right but for those in `left`; `narrow` where they are many."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0) if narrow else (0, 1))
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def write_json(value: Any) -> None:
    """One JSON value on a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def counted(number: int, singular: str, many: str = "") -> str:
    """`1 record`, `2 records`; `many` where an `s` does not make it."""
    return f"{number:,} {singular if number == 1 else many or f'{singular}s'}"


def at_work(doing: str, quiet: bool) -> AbstractContextManager[object]:
    """A context that shows on a terminal what is being done for seconds inside it."""
    return nullcontext() if quiet or not sys.stderr.isatty() else console().status(doing)


@contextmanager
def starting(quiet: bool) -> Iterator[None]:
    """Show that the command starts while torch is imported, which takes a second or several."""
    with seldom_searched(), at_work("starting", quiet):
        yield
    _have_arrow_without_pandas()


class _WithoutPandas:
    """A finder of modules, to which pandas is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        """Leave every other module to the finders behind it. Raises ModuleNotFoundError."""
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _have_arrow_without_pandas() -> None:
    """Spare this process pandas, a tenth of what a command takes to start, until somebody makes a DataFrame.

    pyarrow imports it to tell whether the first array that it is given is of pandas; where it is not installed, pyarrow
    looks for it again when a DataFrame is asked for.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder: Any = _WithoutPandas()
    sys.meta_path.insert(0, finder)  # None in sys.modules will not do: what is compiled by Cython takes it for pandas
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)


def figure(value: float | None, form: str = ".2f") -> str:
    """A number in this form; `-` for none."""
    return "-" if value is None else format(value, form)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A statistic with its interval, where it has them."""
    if value is None:
        return "unknown"
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.2f}-{high:.2f})")


def size(n: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


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
