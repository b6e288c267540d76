"""`actkit show`."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from actkit.cli.console import size

WIDEST = 26
"""Characters of a cell; longer ones are cut, since a row should fit a line."""


def show(
    run: Annotated[Path, typer.Argument(help="A finished run's directory.", show_default=False)],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows shown of each table.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print run.json as one JSON object instead.")] = False,
) -> None:
    """What a finished run holds: counts, tables, first rows."""
    from actkit.analysis.overview import facts_of, heads

    facts = facts_of(run)
    if json:
        sys.stdout.write(json_text.dumps(facts, ensure_ascii=False) + "\n")
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
        first = ", ".join(str(one) if isinstance(one, int) else f"{one:.3f}" for one in value[:3])
        return rf"\[{first}{', …' if len(value) > 3 else ''}] × {len(value)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = json_text.dumps(value, ensure_ascii=False)[1:-1]
    else:
        text = "" if value is None else str(value)
    return (text if len(text) <= WIDEST else text[: WIDEST - 1] + "…").replace("[", r"\[")
