"""Vectors read off a file's pages are what Arrow reads; whatever is not plain is left to Arrow."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actkit.runs.fast_vectors import vectors
from actkit.runs.reader import rows_of
from actkit.schemas import arrow_schema, vector_type

PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": ["hook_point"]}


def table(n: int, width: int, dtype: str = "float32", point: str = "blocks.0.hook_resid_post") -> pa.Table:
    numbers = np.random.default_rng(n + width).normal(size=n * width).astype(dtype)
    vector = vector_type(width, dtype)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers, type=vector.value_type), width)
    columns = [pa.array(np.arange(n)), pa.array(np.arange(n)), pa.array(np.zeros(n, dtype=np.int32)), [point] * n]
    return pa.Table.from_arrays(
        [pa.array(column) for column in columns] + [lists], schema=arrow_schema("activations", vector)
    )


def write(path: Path, *tables: pa.Table, **options: Any) -> pq.FileMetaData:
    with pq.ParquetWriter(path, tables[0].schema, **{**PLAIN, **options}) as writer:
        for table in tables:
            writer.write_table(table)
    return pq.ParquetFile(path).metadata


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    width=st.integers(1, 70),
    page=st.integers(64, 100_000),
    checksums=st.booleans(),
    statistics=st.booleans(),
)
def test_the_values_are_those_that_arrow_reads(
    dtype: str, rows: list[int], width: int, page: int, checksums: bool, statistics: bool, tmp_path: Path
) -> None:
    tables = [table(n, width, dtype) for n in rows]
    path = tmp_path / "part-00000.parquet"
    more = {"data_page_size": page, "write_page_checksum": checksums, "write_statistics": statistics}
    metadata = write(path, *tables, **more)
    for group, row in enumerate(tables):
        found = vectors(path, metadata, group, "activation")
        assert found is not None and found.dtype == dtype
        np.testing.assert_array_equal(found, row["activation"].combine_chunks().flatten().to_numpy())
        found[:] = 0  # an array of its own, not the file


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"use_dictionary": True},
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "use_byte_stream_split": ["activation.list.element"]},
    ],
)
def test_what_is_not_plain_is_left_to_arrow(options: dict[str, Any], tmp_path: Path) -> None:
    row = table(300, 8)
    path = tmp_path / "part-00000.parquet"
    assert vectors(path, write(path, row, **options), 0, "activation") is None
    (rows,) = rows_of(path)
    np.testing.assert_array_equal(rows.activations.ravel(), row["activation"].combine_chunks().flatten().to_numpy())


def test_nulls_are_left_to_arrow(tmp_path: Path) -> None:
    lists = pa.array([[1.0, None], [2.0, 3.0]], type=pa.list_(pa.float32(), 2))
    path = tmp_path / "x.parquet"
    for statistics in (True, False):
        metadata = write(path, pa.table({"activation": lists}), use_dictionary=False, write_statistics=statistics)
        assert vectors(path, metadata, 0, "activation") is None
    assert vectors(path, metadata, 0, "no such column") is None


def test_of_one_hook_point_nothing_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]
    tables = [table(50 + layer, 4, point=name) for layer, name in enumerate(names)]
    path = tmp_path / "part-00000.parquet"
    write(path, *tables)
    monkeypatch.setattr(
        np, "frombuffer", lambda *_a, read=np.frombuffer, **k: groups.append(k["count"]) or read(*_a, **k)
    )
    groups: list[int] = []
    (rows,) = rows_of(path, names[1])
    assert rows.hook_point == names[1] and groups == [51 * 4]
    np.testing.assert_array_equal(rows.activations, np.stack(tables[1]["activation"].to_pylist()).astype(np.float32))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_left_to_arrow_or_read_as_arrow_reads_it(
    at: int, byte: int, cut: bool, tmp_path: Path
) -> None:
    path = tmp_path / "part-00000.parquet"
    metadata = write(path, table(200, 8), data_page_size=1000)
    data = bytearray(path.read_bytes())
    at = 4 + at % (len(data) - 4)
    if cut:
        del data[at:]
    else:
        data[at] = byte
    path.write_bytes(data)
    found = vectors(path, metadata, 0, "activation")
    assert found is None or len(found) == 200 * 8
