"""A file that claims more than its bytes can be worth is not read; the footers that claim it are made by hand."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.runs import plausible
from actkit.runs.plausible import ALWAYS, RATIO, REPEATED, implausible


@dataclass(frozen=True)
class Column:
    """What Arrow says of a column of a row group."""

    path_in_schema: str = "activation.list.element"
    physical_type: str = "FLOAT"
    num_values: int = 100
    total_compressed_size: int = 400
    total_uncompressed_size: int = 400
    has_dictionary_page: bool = False
    statistics: Any = None


@dataclass(frozen=True)
class Group:
    """And of a row group."""

    num_rows: int
    columns: tuple[Column, ...] = field(default_factory=lambda: (Column(),))

    @property
    def num_columns(self) -> int:
        return len(self.columns)

    def column(self, number: int) -> Column:
        return self.columns[number]


def against(*groups: Group, rows: int | None = None) -> str | None:
    """What speaks against a file of these row groups, whose footer contradicts nothing otherwise."""
    metadata: Any = SimpleNamespace(
        num_row_groups=len(groups),
        row_group=lambda number: groups[number],
        num_rows=sum(group.num_rows for group in groups) if rows is None else rows,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plausible, "contradiction", lambda _path, _metadata: None)
        return implausible(Path("part.parquet"), metadata)


def fault_of_column(**about: Any) -> str | None:
    return against(Group(100, (replace(Column(), **about),)))


def test_a_file_that_was_written_by_arrow_is_read(tmp_path: Path) -> None:
    table = pa.table({"sequence_id": [1, 2, 3], "text": ["a" * 1000] * 3, "vector": [[0.0] * 100] * 3})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", row_group_size=2)
    assert implausible(tmp_path / "x.parquet", pq.read_metadata(tmp_path / "x.parquet")) is None


def test_a_contradiction_in_the_footer_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    monkeypatch.setattr(plausible, "contradiction", lambda path, _metadata: f"{path.name} contradicts itself")
    assert (
        implausible(tmp_path / "x.parquet", pq.read_metadata(tmp_path / "x.parquet")) == "x.parquet contradicts itself"
    )


def test_values_are_counted_in_the_bytes_that_they_take_in_memory() -> None:
    """4 bytes a float, 8 a double: as many as are always allowed, then as many as the bytes on disk can be worth."""
    assert fault_of_column(num_values=ALWAYS // 4) is None
    assert fault_of_column(num_values=ALWAYS // 4 + 1) == (
        f"row group 0: activation.list.element claims {ALWAYS + 4:,} bytes in 400, too many to be read"
    )
    assert fault_of_column(num_values=ALWAYS // 8, physical_type="DOUBLE") is None
    assert "too many to be read" in str(fault_of_column(num_values=ALWAYS // 8 + 1, physical_type="DOUBLE"))
    large = ALWAYS // RATIO * 2
    assert fault_of_column(num_values=RATIO * large // 4, total_compressed_size=large) is None
    assert fault_of_column(num_values=RATIO * large // 4 + 1, total_compressed_size=large) is not None


def test_rows_count_where_a_column_claims_fewer_values() -> None:
    assert "claims" in str(against(Group(ALWAYS, (Column(num_values=0),))))


def test_texts_take_what_they_have_uncompressed() -> None:
    text = {"physical_type": "BYTE_ARRAY", "path_in_schema": "text"}
    assert fault_of_column(**text, total_uncompressed_size=ALWAYS) is None
    assert "too many to be read" in str(fault_of_column(**text, total_uncompressed_size=ALWAYS + 1))


def test_a_dictionary_may_stand_for_any_number_of_bytes() -> None:
    text = {"physical_type": "BYTE_ARRAY", "has_dictionary_page": True, "total_compressed_size": 1 << 40}
    most = {"num_values": 1 << 10, "total_uncompressed_size": REPEATED >> 10}
    assert fault_of_column(**text, **most, path_in_schema="text") is None
    more = {**most, "num_values": (1 << 10) + 1}
    assert "a dictionary, as no file of actkit's has" in str(fault_of_column(**text, **more, path_in_schema="text"))
    assert fault_of_column(**text, **more, path_in_schema="hook_point") is None, "actkit has dictionaries of names"
    assert fault_of_column(**text, **more, path_in_schema="token.list.element") is None
    large = {"num_values": 1, "total_uncompressed_size": ALWAYS + 1}
    assert str(fault_of_column(**text, **large, path_in_schema="sae")).endswith(
        f"sae claims a dictionary of {ALWAYS + 1:,} bytes"
    )


def test_rows_have_numbers() -> None:
    def with_nulls(has: bool, count: int) -> Any:
        return SimpleNamespace(has_null_count=has, null_count=count)

    about = {"path_in_schema": "sequence_id", "physical_type": "INT64"}
    assert fault_of_column(**about, statistics=with_nulls(True, 1)) == "row group 0: nulls in the column sequence_id"
    assert fault_of_column(**about, statistics=with_nulls(True, 0)) is None
    assert fault_of_column(**about, statistics=with_nulls(False, 1)) is None
    assert fault_of_column(path_in_schema="chunk", statistics=with_nulls(True, 1)) is None


def test_counts_below_zero_and_rows_that_do_not_add_up() -> None:
    for name in ("num_values", "total_compressed_size", "total_uncompressed_size"):
        assert "claims sizes below zero" in str(fault_of_column(**{name: -1}))
    assert against(Group(5), Group(-1)) == "row group 1 claims -1 rows"
    assert against(Group(5), Group(6), rows=12) == "its row groups have 11 rows, it claims 12"
    assert against() is None
