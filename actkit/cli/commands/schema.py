"""`actkit schema`."""

from typing import Annotated

import typer

from actkit.cli.screen.console import OutputConsole, write_json


def schema(
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="Name of a table; without one, all are listed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """What the tables hold: each column's type, unit and meaning.

    Every Parquet file says the same of its columns: `description` and `unit` in the metadata of its Arrow fields.

    Example: [b]actkit schema[/]

    Example: [b]actkit schema feature_scores[/]

    Example: [b]actkit schema tokens --json[/]
    """
    from rich.table import Table
    from rich.text import Text

    from actkit.schemas import TABLES, described

    wanted = {name: described(name) for name in (TABLES if table is None else (table,))}
    if json:
        write_json(wanted)
        return
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    screen = OutputConsole(highlight=False)
    if table is None:
        drawn.add_column("table", no_wrap=True)
        drawn.add_column("columns")
        for name, columns in wanted.items():
            drawn.add_row(name, ", ".join(column["name"] for column in columns))
    else:
        for title in ("column", "type", "meaning (unit)"):
            drawn.add_column(title, no_wrap=title == "column")
        for column in wanted[table]:
            unit = f" ({column['unit']})" if column["unit"] else ""
            drawn.add_row(Text(column["name"]), Text(column["type"]), Text(column["meaning"] + unit))
    screen.print(drawn)
