"""Print rows of a run's table, in the order of a column; memory holds little more than those rows.

Long cells are cut. A table that is too wide is drawn as several tables, each below the one before.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from actkit.cli.screen.console import draw_table, packed
from actkit.errors import UsageError
from actkit.runs.facts import facts_of
from actkit.runs.part import open_part, schema_of_part
from actkit.runs.reader import parts


def sorted_rows(
    run: Path, table: str, columns: Sequence[str] | None, sort: str | None, most: int
) -> tuple[int, pa.Table]:
    """Return the number of rows, and the first `most` by `sort` (`-name`: largest first), nulls last, or as stored.

    Raises UsageError for a table or a column that the run does not have.
    """
    known = facts_of(run)["tables"]
    if table not in known:
        raise UsageError(f"{run}: no table {table}", f"it has {', '.join(known)}")
    files = parts(run, table)
    schema = schema_of_part(files[0])
    names = list(columns or schema.names)
    by = None if sort is None else sort.removeprefix("-")
    for name in (*names, *([by] if by else [])):
        if name not in schema.names:
            raise UsageError(f"{table} has no column {name}", f"it has {', '.join(schema.names)}")
    if by is not None and pa.types.is_nested(schema.field(by).type):
        raise UsageError(f"{table}: {by} holds lists, which have no order", "another column")
    order = "descending" if sort is not None and sort.startswith("-") else "ascending"
    best = schema.empty_table().select(list(dict.fromkeys([*names, *([by] if by else [])])))
    for part in files:
        with open_part(part) as file:
            for batch in file.iter_batches(batch_size=65_536, columns=best.column_names):
                best = pa.concat_tables([best, pa.Table.from_batches([batch]).cast(best.schema)])
                if by is not None:
                    keys = pc.sort_indices(best, sort_keys=[(by, order)])
                    best = best.take(keys[:most])
                elif len(best) >= most:
                    return known[table]["rows"], best.slice(0, most).select(names)
    return known[table]["rows"], best.slice(0, most).select(names)


WIDEST = 26
"""Most characters of a cell; longer cells are cut, since a row should fit a line."""
GAP, INDENT = 2, 2
"""Columns between two cells, and before each further table of a table that is too wide."""


def draw_rows(columns: Sequence[str], rows: Sequence[dict[str, Any]], screen: Console) -> None:
    """Print rows in as many tables below one another as the width needs; columns without a value are only named."""
    empty = [column for column in columns if all(row[column] in (None, "") for row in rows)]
    cells = {column: [column, *(_cell(row[column]) for row in rows)] for column in columns if column not in empty}
    widths = {column: max(map(cell_len, of)) for column, of in cells.items()}
    for number, band in enumerate(packed(widths.items(), screen.width - INDENT, GAP)):
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


def _item(item: Any) -> str:
    """Write an item of a list: a number, another list, a text, or an object by its token or its first value."""
    if isinstance(item, float):
        return f"{item:.3f}"
    if isinstance(item, dict):
        return _item(item.get("token", next(iter(item.values()), None)))
    return _cell(f"'{item}'") if isinstance(item, str) else _cell(item)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        first = [_item(item) for item in value[:3]]
        return f"[{', '.join(first)}{', …' if len(value) > 3 else ''}] × {len(value)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)[1:-1]
    else:
        text = "" if value is None else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
