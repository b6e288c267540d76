"""Whether the columns of a table's parts are those of `actkit.schemas`, the same in all parts."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from actkit.runs.part import schema_of_part
from actkit.schemas import TABLES, arrow_schema
from actkit.verify.tables.findings import Findings


@dataclass(frozen=True)
class Part:
    """One part file that can be opened."""

    path: Path
    rows: int


def of_one_schema(table: str, parts: list[Part], findings: Findings) -> list[Part]:
    """The parts whose columns are those of `actkit.schemas`, vectors as the first such part has them."""
    if table not in TABLES:
        if parts:
            findings.wrong("schema", table, "a table that this version of actkit does not know")
        return []
    fine: list[Part] = []
    vector: pa.DataType | None = None
    for part in parts:
        findings.count("schema")
        schema = schema_of_part(part.path).remove_metadata()
        own = _vector_of(schema)
        expected = arrow_schema(table, vector or own or pa.list_(pa.float32()))
        if schema.equals(expected):
            vector = vector or own
            fine.append(part)
        else:
            findings.wrong("schema", part.path, _difference(schema, expected))
    return fine


def _vector_of(schema: pa.Schema) -> pa.DataType | None:
    """The type of a column of vectors, where it is one that a run may have."""
    if schema.names.count("activation") != 1:
        return None
    kind = schema.field("activation").type
    lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind if lists and kind.value_type in (pa.float32(), pa.float16()) else None


def _difference(schema: pa.Schema, expected: pa.Schema) -> str:
    twice = [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]
    if twice:
        return f"a column {twice[0]} several times"
    missing = [name for name in expected.names if name not in schema.names]
    unknown = [name for name in schema.names if name not in expected.names]
    if missing or unknown:
        named = [f"no column {name}" for name in missing] + [f"an unknown column {name}" for name in unknown]
        return ", ".join(named)
    differing = [field for field in expected if schema.field(field.name).type != field.type]
    if not differing:
        return "columns in another order"
    return ", ".join(f"{field.name} is {schema.field(field.name).type}, not {field.type}" for field in differing)
