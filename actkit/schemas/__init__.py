"""Every Parquet table, column by column; the meanings are what README and `actkit show` print.

A column, or a table, is added in its family, one file each.
"""

import pyarrow as pa

from actkit.errors import UsageError, did_you_mean
from actkit.schemas import of_activations, of_concepts, of_features, of_pairs, of_records, of_steering
from actkit.schemas.of_features import CONTEXTS as CONTEXTS
from actkit.schemas.units import Column, unit_of

DESCRIPTION = "description"
"""Key of a column's meaning in the metadata of its Arrow field."""
UNIT = "unit"
"""Key of a column's unit there; absent for names, texts, ids and flags."""
SCHEMA_VERSION = 3
"""Raised when a column changes its name or meaning; added columns do not raise it."""

_FAMILIES = (of_records, of_activations, of_features, of_pairs, of_concepts, of_steering)
TABLES: dict[str, tuple[Column, ...]] = {name: table for family in _FAMILIES for name, table in family.TABLES.items()}
TABLES["rejected"] = of_records.REJECTED
"""In the order in which a run lists them."""


def vector_type(width: int | None, store_dtype: str) -> pa.DataType:
    """The type of `activation`: fixed-size lists where all hook points of a run are equally wide, else plain lists."""
    item = pa.float16() if store_dtype == "float16" else pa.float32()
    return pa.list_(item) if width is None else pa.list_(item, width)


def arrow_schema(table: str, vector: pa.DataType | None = None) -> pa.Schema:
    """The Arrow schema of `table`; `vector` is needed where a column is a vector."""
    return pa.schema(
        [
            pa.field(column.name, vector if column.type is None else column.type, metadata=_about(table, column))
            for column in TABLES[table]
        ]
    )


def _about(table: str, column: Column) -> dict[str, str]:
    unit = unit_of(table, column.name)
    return {DESCRIPTION: column.meaning, **({UNIT: unit} if unit else {})}


def described(table: str) -> list[dict[str, str]]:
    """Name, type, unit and meaning of each column. Raises UsageError for an unknown table."""
    if table not in TABLES:
        raise UsageError(f"no table {table!r}", f"{did_you_mean(table, TABLES)}there are {', '.join(TABLES)}")
    return [
        {"name": column.name, "type": type_name(column), "unit": unit_of(table, column.name), "meaning": column.meaning}
        for column in TABLES[table]
    ]


def type_name(column: Column) -> str:
    """A column's type as Arrow names it; `vector` where it depends on the run."""
    if column.type is None:
        return "vector"
    return (
        "list<context>" if column.type == CONTEXTS else str(column.type).replace("element: ", "").replace("item: ", "")
    )
