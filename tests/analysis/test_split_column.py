"""The column `split`: each sequence gets the name of its part, whatever the order; who is in none gets null."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis.split_column import HELD_OUT, with_split, without_split
from actkit.schemas import arrow_schema

NAMES = ("train", "held_out")


def part(ids: list[int], split: str = "old") -> pa.Table:
    schema = arrow_schema("sequences")
    columns = {"sequence_id": pa.array(ids, pa.int64()), "split": pa.array([split] * len(ids), pa.string())}
    return pa.Table.from_arrays([columns.get(f.name, pa.nulls(len(ids), f.type)) for f in schema], schema=schema)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "sequences").mkdir()
    for number, ids in enumerate(([0, 1, 2], [5], [], [9, 12])):
        pq.write_table(part(ids), tmp_path / "sequences" / f"part-{number:05d}.parquet")
    return tmp_path


def splits(run: Path, ids: list[int], of: list[int]) -> list[list[str | None]]:
    tables = list(with_split(run, np.array(ids, dtype=np.int64), NAMES, np.array(of, dtype=np.int32)))
    assert all(table.schema.equals(arrow_schema("sequences")) for table in tables)
    return [table["split"].to_pylist() for table in tables]


def test_each_sequence_has_the_name_of_its_part(run: Path) -> None:
    expected = [["train", None, "held_out"], ["held_out"], [], ["train", None]]
    assert splits(run, [0, 2, 5, 9], [0, 1, 1, 0]) == expected
    assert splits(run, [9, 5, 0, 2], [0, 1, 0, 1]) == expected, "in any order"
    assert splits(run, [9, 5, 0, 2, 77, -3], [0, 1, 0, 1, 0, 1]) == expected, "who is not in the run changes nothing"


def test_without_a_split_nobody_is_in_one(run: Path) -> None:
    assert splits(run, [], []) == [[None] * 3, [None], [], [None] * 2]
    for path in sorted((run / "sequences").iterdir()):
        table = without_split(pq.read_table(path))
        assert table.schema.equals(arrow_schema("sequences")) and table["split"].null_count == len(table)
        assert table.drop_columns(["split"]).equals(
            pq.read_table(path)
            .drop_columns(["split"])
            .cast(pa.schema([field for field in arrow_schema("sequences") if field.name != "split"]))
        )


def test_what_is_held_out_chose_nothing() -> None:
    assert HELD_OUT == ("held_out", "test")
