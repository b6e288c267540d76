"""`actkit schema` says of each table what its Parquet files say of themselves."""

import json

import pyarrow as pa

from actkit.schemas import TABLES, arrow_schema
from tests.command_line import Run

VECTOR = pa.list_(pa.float32(), 3)


def test_every_column_is_that_of_the_files(actkit: Run) -> None:
    described = json.loads(actkit("schema", "--json").out)
    assert list(described) == list(TABLES)
    for name, columns in described.items():
        fields = list(arrow_schema(name, VECTOR))
        assert [column["name"] for column in columns] == [field.name for field in fields]
        for column, field in zip(columns, fields, strict=True):
            assert column["meaning"] == field.metadata[b"description"].decode() != ""
            assert column["unit"] == field.metadata.get(b"unit", b"").decode()
            assert (column["type"] == "vector") is (field.type == VECTOR)
        assert json.loads(actkit("schema", name, "--json").out) == {name: columns}


def test_the_screen_has_them_all(actkit: Run) -> None:
    listed = actkit("schema").out
    assert all(name in listed for name in TABLES)
    alone = " ".join(actkit("schema", "tokens").out.split())
    for field in arrow_schema("tokens"):
        assert field.name in alone
