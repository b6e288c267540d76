"""What a person sees, all of it on standard error: progress, the summary of a run, errors."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from actkit.pipeline.recipe import Progress


ENDLESS = 10_000
"""Columns where no terminal sets an edge."""


def console() -> Console:
    """Standard error; colours only on a terminal and not under NO_COLOR."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(label: str, text: str, style: str = "yellow", screen: Console | None = None, in_one: bool = False) -> None:
    """`label: text`, the text as it is, broken between words where a terminal ends unless it must stay `in_one`."""
    (screen or console()).print(Text.assemble((f"{label}:", style), " ", text), soft_wrap=in_one or None)


def draw_error(message: str, hint: str) -> None:
    """`error: …`, a blank line, `hint: …`."""
    say("error", message, "bold red")
    if hint:
        console().print()
        say("hint", hint, "bold", in_one=True)  # a command that was broken in two cannot be copied from the screen


def draw_table(table: Table, screen: Console | None = None) -> None:
    """A table with every cell whole: on a terminal that is too narrow its lines run on, for a cut number is wrong."""
    screen = screen or console()
    before = screen.width
    screen.width = max(before, screen.measure(table, options=screen.options.update(max_width=ENDLESS)).maximum)
    with screen.capture() as drawn:
        screen.print(table)
    screen.width = before
    for line in Text.from_ansi(drawn.get()).split("\n"):
        line.rstrip()  # or the blanks of a short line would run on
        screen.print(line, soft_wrap=True)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 record`, `2 records`; `many` where an `s` does not make it."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


@contextmanager
def starting(quiet: bool) -> Iterator[None]:
    """A word on a terminal while torch is imported, which takes a second or several."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with console().status("starting"):
        yield


@contextmanager
def progress_shown(quiet: bool) -> Iterator[Callable[["Progress"], None]]:
    """A line that grows on a terminal; nothing elsewhere, where it would fill a log."""
    if quiet or not sys.stderr.isatty():
        yield lambda _progress: None
        return
    screen = console()
    with screen.status("loading the model") as status:
        last = 0.0

        def show(progress: "Progress") -> None:
            nonlocal last
            if time.monotonic() - last < 0.1:
                return
            last = time.monotonic()
            status.update(
                f"{counted(progress.read, 'record')} read, {progress.rejected:,} rejected, "
                f"{counted(progress.tokens, 'token')} done"
            )

        yield show


def show_profile(facts: Mapping[str, Any]) -> None:
    """Where a run's time went: seconds, and tokens a second, of each part."""
    table = Table(box=None)
    table.add_column("part")
    table.add_column("seconds", justify="right")
    table.add_column("tokens/s", justify="right")
    for part, spent in facts.get("profile", {}).items():
        speed = spent["tokens_per_second"]
        table.add_row(part, f"{spent['seconds']:,.2f}", "" if speed is None else f"{speed:,.0f}")
    draw_table(table)


def show_run(facts: Mapping[str, Any], path: Path) -> None:
    """The summary of a finished run: counts, what was rejected and why, the tables; on a terminal the layers too."""
    screen = console()
    counts, model = facts["counts"], facts["model"]
    seconds = facts["ended"] - facts["began"]
    screen.print(
        Text.assemble(
            (facts["command"], "bold"),
            f" with {model['name']} ({model['dtype']}, {model['device']}): {counts['written']:,} of "
            f"{counts['read']:,} records, {counted(counts['tokens'], 'token')} in {seconds:.1f} s "
            f"({facts['tokens_per_second']:,.0f} tokens/s)",
        )
    )
    for name, value in facts["detected"].items():
        screen.print(f"  {name.replace('_', ' ')}: {value}", markup=False)
    if facts.get("documents", {}).get("chunked_documents"):
        documents = facts["documents"]
        longer = counted(documents["chunked_documents"], "document was", "documents were")
        screen.print(
            f"  {longer} longer than {documents['context_size']:,} tokens and cut into chunks: "
            f"{counted(documents['chunks'], 'sequence')} in all"
        )
    if counts["truncated"]:
        screen.print(f"  {counts['truncated']:,} truncated: see n_truncated in the table sequences")
    if counts["special_in_text"]:
        typed = counted(counts["special_in_text"], "text has", "texts have")
        say("warning", f"{typed} special tokens typed inside, which act as control tokens", screen=screen)
    for reason, count in sorted(facts["rejected_reasons"].items(), key=lambda item: -item[1])[:5]:
        screen.print(f"  {count:,} rejected: {reason}", markup=False)
    if len(facts["rejected_reasons"]) > 5:
        screen.print("  more reasons are in the table rejected")
    for row in facts.get("health", ()):
        screen.print(f"  {row['sae']}: {_health(row)}", markup=False)
    if facts.get("verify"):
        screen.print(f"  {verified(facts['verify'])}", markup=False)
    for text in facts.get("warnings", ()):
        say("warning", text, screen=screen)
    draw_table(_tables(facts["tables"]), screen)
    if sys.stderr.isatty() and "layer_stats" in facts["tables"]:
        draw_table(_layers(path), screen)


def _health(row: Mapping[str, Any]) -> str:
    if not row["n_tokens"]:
        return "no token but special ones"
    explained = row["explained_variance"]
    return (
        f"L0 {row['l0']:.1f}, explained variance {'unknown' if explained is None else f'{explained:.3f}'}, "
        f"{row['dead_fraction']:.1%} of features silent, {row['dense_fraction']:.1%} dense, "
        f"on {counted(row['n_tokens'], 'token')}"
    )


def verified(found: Mapping[str, Any]) -> str:
    """What `--verify` found, in a line; a run in which it found more than rounding is not finished."""
    rows = [*found["hook_points"].values(), *found["saes"].values()]
    worst = max(rows, key=lambda row: row["worst_error"] / row["tolerance"], default=None)
    far = f": off by at most {worst['worst_error']:.1e}, {worst['tolerance']:.1e} allowed" if worst else ""
    return f"{counted(found['records'], 'record')} computed again on the plain model{far}"


def _tables(tables: Mapping[str, Mapping[str, int]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("table")
    shown.add_column("rows", justify="right")
    shown.add_column("size", justify="right")
    for name, facts in tables.items():
        shown.add_row(name, f"{facts['rows']:,}", size(facts["bytes"]))
    return shown


def size(n: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def _layers(path: Path) -> Table:
    import pyarrow.parquet as pq

    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    shown.title, shown.title_justify = "without special tokens", "left"
    for name in ("hook point", "positions", "mean", "std", "mean norm", "min", "max"):
        shown.add_column(name, justify="left" if name == "hook point" else "right")
    for row in pq.read_table(path / "layer_stats").to_pylist():
        if not row["special_tokens"] and row["n_positions"]:
            figures = (f"{row[name]:.3f}" for name in ("mean", "std", "mean_norm", "min", "max"))
            shown.add_row(row["hook_point"], f"{row['n_positions']:,}", *figures)
    return shown
