"""`actkit schema`."""

import json as json_text
import sys
from difflib import get_close_matches
from typing import Annotated

import typer

from actkit.errors import UsageError


def schema(
    table: Annotated[
        str | None,
        typer.Argument(metavar="TABLE", help="Name of a table; without one, all are listed.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """What the tables hold: each column's type and meaning.

    Every Parquet file says the same of its columns: `description` in the metadata of its Arrow fields.

    Example: [b]actkit schema[/]

    Example: [b]actkit schema feature_scores[/]

    Example: [b]actkit schema tokens --json[/]
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from actkit.schemas import TABLES, type_name

    if table is not None and table not in TABLES:
        near = get_close_matches(table, TABLES, n=2, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"no table {table!r}", f"{meant}there are {', '.join(TABLES)}")
    wanted = TABLES if table is None else {table: TABLES[table]}
    if json:
        said = {
            name: [{"name": column.name, "type": type_name(column), "meaning": column.meaning} for column in columns]
            for name, columns in wanted.items()
        }
        sys.stdout.write(json_text.dumps(said, ensure_ascii=False) + "\n")
        return
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    screen = Console(highlight=False)
    if table is None:
        drawn.add_column("table", no_wrap=True)
        drawn.add_column("columns")
        for name, columns in wanted.items():
            drawn.add_row(name, ", ".join(column.name for column in columns))
    else:
        for title in ("column", "type", "meaning"):
            drawn.add_column(title, no_wrap=title == "column")
        for column in wanted[table]:
            drawn.add_row(Text(column.name), Text(type_name(column)), Text(column.meaning))
    screen.print(drawn)
