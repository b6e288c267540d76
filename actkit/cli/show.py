"""`actkit show`."""

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from actkit.cli.console import size

PIPED = 110
"""Columns of a token strip where there is no terminal to ask."""
WIDEST = 26
"""Characters of a cell; longer ones are cut, since a row should fit a line."""


def show(
    run: Annotated[Path, typer.Argument(help="A finished run's directory.", show_default=False)],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows shown of each table.")] = 3,
    sequences: Annotated[int, typer.Option("--sequences", "-s", min=0, help="Sequences shown token by token.")] = 2,
    json: Annotated[
        bool, typer.Option("--json", help="Print run.json, and those sequences, as one JSON object instead.")
    ] = False,
) -> None:
    """What a finished run holds: counts, tables, first rows, and the first sequences token by token."""
    from actkit.analysis.overview import facts_of, heads
    from actkit.analysis.strips import first_strips

    facts = facts_of(run)
    strips = first_strips(run, sequences) if sequences else []
    if json:
        shown = {**facts, "first_sequences": [asdict(one) for one in strips]}
        sys.stdout.write(json_text.dumps(shown, ensure_ascii=False) + "\n")
        return
    # Wide tables are cut at a terminal's edge, but nowhere else: a file or a pipe has none.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    counts = facts["counts"]
    screen.print(
        f"{run}: {facts['command']} with {facts['model']['name']}, {counts['written']:,} of {counts['read']:,} "
        f"records, {counts['sequences']:,} sequences, {counts['tokens']:,} tokens"
    )
    for name, head in heads(run, rows):
        known = facts["tables"][name]
        screen.print(f"\n[bold]{name}[/]  {known['rows']:,} rows, {size(known['bytes'])}  {run / name}")
        if len(head):
            screen.print(_drawn(head.column_names, head.to_pylist()))
    if strips:
        from actkit.cli.strip import LEGEND, drawn

        screen.print(f"\n[dim]{LEGEND}[/]")
        for strip in strips:
            for line in drawn(strip, min(screen.width, PIPED)):
                screen.print(line, no_wrap=True, crop=False)


def _drawn(columns: list[str], rows: list[dict[str, Any]]) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        number = all(isinstance(row[column], (int, float)) for row in rows)
        drawn.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(_cell(row[column]) for column in columns))
    return drawn


def _cell(value: Any) -> str:
    if isinstance(value, list):
        first = [str(one) if isinstance(one, int) else f"{one:.3f}" for one in value[:3] if not isinstance(one, dict)]
        of_texts = [_cell(f"'{one['token']}'") for one in value[:3] if isinstance(one, dict)]
        return rf"\[{', '.join(first + of_texts)}{', …' if len(value) > 3 else ''}] × {len(value)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = json_text.dumps(value, ensure_ascii=False)[1:-1]
    else:
        text = "" if value is None else str(value)
    return (text if len(text) <= WIDEST else text[: WIDEST - 1] + "…").replace("[", r"\[")
