"""`actkit show`."""

import json as json_text
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from actkit.cli.options.groups import at_home
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import ENDLESS, counted, draw_table, size
from actkit.cli.screen.summary import written_of

PIPED = 110
"""Columns of a token strip where there is no terminal to ask."""
WIDEST = 26
"""Characters of a cell; longer ones are cut, since a row should fit a line."""
GAP, INDENT = 2, 2
"""Columns between two cells, and before the rest of a table that is too wide."""


def show(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A finished run's directory.", show_default=False, callback=at_home)
    ],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows shown of each table.")] = 3,
    sequences: Annotated[int, typer.Option("--sequences", "-s", min=0, help="Sequences shown token by token.")] = 2,
    json: Annotated[
        bool, typer.Option("--json", help="Print run.json, and those sequences, as one JSON object instead.")
    ] = False,
) -> None:
    """What a finished run holds: counts, tables, first rows, and the first sequences token by token.

    Example: [b]actkit show runs/pairs --rows 5[/]
    """
    from actkit.report.token_strips import first_strips
    from actkit.runs.facts import facts_of, heads

    check_run(run, "actkit show")
    facts = facts_of(run)
    strips = first_strips(run, sequences) if sequences else []
    if json:
        shown = {**facts, "first_sequences": [asdict(one) for one in strips]}
        sys.stdout.write(json_text.dumps(shown, ensure_ascii=False) + "\n")
        return
    # Where there is no terminal there is no edge: a row of a table is one line.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else ENDLESS)
    counts = facts["counts"]
    about = f"{run}: {facts['command']} with {facts['model']['name']}, {written_of(facts)}"
    about += f", {counted(counts['sequences'], 'sequence')}, {counted(counts['tokens'], 'token')}"
    screen.print(about, markup=False)
    for name, head in heads(run, rows):
        known = facts["tables"][name]
        title = f"  {counted(known['rows'], 'row')}, {size(known['bytes'])}  {run / name}"
        screen.print(Text.assemble("\n", (name, "bold"), title))
        if len(head):
            _draw(head.column_names, head.to_pylist(), screen)
    if strips:
        from actkit.cli.screen.token_strip import LEGEND, drawn

        screen.print(f"\n[dim]{LEGEND}[/]")
        for strip in strips:
            for line in drawn(strip, min(screen.width, PIPED)):
                screen.print(line, no_wrap=True, crop=False)


def _draw(columns: Sequence[str], rows: Sequence[dict[str, Any]], screen: Console) -> None:
    """The rows, in as many tables below one another as the width needs; columns without a value here are only named."""
    empty = [column for column in columns if all(row[column] in (None, "") for row in rows)]
    cells = {column: [column, *(_cell(row[column]) for row in rows)] for column in columns if column not in empty}
    widths = {column: max(map(cell_len, of)) for column, of in cells.items()}
    for number, band in enumerate(_bands(widths, screen.width - INDENT)):
        drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP // 2))
        for column in band:
            right = all(isinstance(row[column], (int, float)) for row in rows)
            drawn.add_column(column, justify="right" if right else "left", no_wrap=True)
        for at in range(1, len(rows) + 1):
            drawn.add_row(*(Text(cells[column][at]) for column in band))
        if number:
            screen.print(Padding(drawn, (0, 0, 0, INDENT), expand=False))
        else:
            draw_table(drawn, screen)
    if empty:
        screen.print(f"[dim]no value in these rows:[/] {', '.join(empty)}")


def _bands(widths: dict[str, int], most: int) -> Iterator[list[str]]:
    """The columns in order, as many at a time as fit next to one another."""
    band: list[str] = []
    used = 0
    for column, width in widths.items():
        if band and used + GAP + width > most:
            yield band
            band = []
        used = width if not band else used + GAP + width
        band.append(column)
    if band:
        yield band


def _cell(value: Any) -> str:
    if isinstance(value, list):
        first = [str(one) if isinstance(one, int) else f"{one:.3f}" for one in value[:3] if not isinstance(one, dict)]
        of_texts = [_cell(f"'{one['token']}'") for one in value[:3] if isinstance(one, dict)]
        return f"[{', '.join(first + of_texts)}{', …' if len(value) > 3 else ''}] × {len(value)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = json_text.dumps(value, ensure_ascii=False)[1:-1]
    else:
        text = "" if value is None else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
