"""Some rows of a table in the order of a column, with no more than those in memory."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import UsageError
from actkit.runs.facts import facts_of
from actkit.runs.part import open_part, schema_of_part
from actkit.runs.reader import parts


def sorted_rows(
    run: Path, table: str, columns: Sequence[str] | None, sort: str | None, most: int
) -> tuple[int, pa.Table]:
    """How many rows there are, and the first `most` by `sort` (`-name`: largest first), nulls last; else as stored.

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
