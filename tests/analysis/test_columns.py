"""`Columns`: whatever order a matrix comes in, its columns are those of scipy's, and a bad part is an error."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.analysis.columns import Columns, Part


def made(seed: int, n_rows: int, n_columns: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rates = random.choice([0.0, 0.1, 0.5, 1.0], n_columns)
    values = random.lognormal(size=(n_rows, n_columns)).astype(np.float32)
    return values * (random.random((n_rows, n_columns)) < rates)


def columns_of(dense: np.ndarray, order: np.ndarray | None = None, n_parts: int = 1) -> Columns:
    rows, ids = np.nonzero(dense)
    order = np.arange(len(rows)) if order is None else order

    def parts() -> Iterator[Part]:
        for some in np.array_split(order, n_parts):
            yield rows[some], ids[some].astype(np.int32), dense[rows[some], ids[some]]

    return Columns.from_rows(parts, *dense.shape)


def check(columns: Columns, dense: np.ndarray) -> None:
    expected = sp.csc_array(dense)
    assert (columns.n_rows, columns.n_columns) == dense.shape
    np.testing.assert_array_equal(columns.starts, expected.indptr)
    np.testing.assert_array_equal(columns.rows, expected.indices)
    np.testing.assert_array_equal(columns.values, expected.data)
    assert (columns.starts.dtype, columns.rows.dtype, columns.values.dtype) == (np.int64, np.int32, np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(0, 30),
    n_columns=st.integers(0, 12),
    n_parts=st.integers(1, 5),
    shuffled=st.booleans(),
)
def test_from_rows_equals_scipy_whatever_the_order_and_the_parts(
    seed: int, n_rows: int, n_columns: int, n_parts: int, shuffled: bool
) -> None:
    dense = made(seed, n_rows, n_columns)
    order = np.arange(np.count_nonzero(dense))
    if shuffled:
        np.random.default_rng(seed).shuffle(order)
    check(columns_of(dense, order, n_parts), dense)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 30), n_columns=st.integers(1, 12))
def test_where_and_slice_equal_numpys(seed: int, n_rows: int, n_columns: int) -> None:
    dense, random = made(seed, n_rows, n_columns), np.random.default_rng(seed)
    columns, rows = columns_of(dense), random.random(n_rows) < 0.5
    first, last = sorted(random.integers(0, n_columns + 1, 2).tolist())
    check(columns.where(rows), dense[rows])
    check(columns.slice(first, last), dense[:, first:last])
    check(columns.slice(first, last).where(rows), dense[rows][:, first:last])


@pytest.mark.parametrize("most", [1, 7, 40, 10**6])
def test_blocks_cover_all_columns_once_and_keep_to_the_limit(most: int) -> None:
    columns = columns_of(made(3, 25, 40))
    ranges = list(columns.blocks(most))
    assert ranges[0][0] == 0 and ranges[-1][1] == 40
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    sizes = [(last - first, columns.starts[last] - columns.starts[first]) for first, last in ranges]
    assert all(count == 1 or nonzeros <= most for count, nonzeros in sizes)
    assert most > 1 or len(ranges) > 10
    assert most < 10**6 or len(ranges) == 1


def test_explicit_zeros_are_left_out_and_so_is_what_float32_cannot_hold() -> None:
    part = np.arange(3), np.zeros(3, dtype=np.int32), np.array([0.0, 1e-60, 2.0])
    columns = Columns.from_rows(lambda: [part], 3, 1)
    assert (columns.rows.tolist(), columns.values.tolist()) == ([2], [2.0])


@pytest.mark.parametrize(
    ("rows", "ids", "values", "message"),
    [
        ([0], [0], [-1.0], "negative"),
        ([0], [0], [np.nan], "no finite number"),
        ([0], [0], [1e60], "no finite number"),
        ([3], [0], [1.0], "row is outside"),
        ([-1], [0], [1.0], "row is outside"),
        ([0], [2], [1.0], "column is outside"),
        ([0, 1], [0], [1.0], "2 rows"),
        ([1, 0, 1], [0, 0, 0], [1.0, 2.0, 3.0], "at one place"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_bad_part_is_an_error(rows: list[int], ids: list[int], values: list[float], message: str) -> None:
    part = np.array(rows), np.array(ids), np.array(values)
    with pytest.raises(ValueError, match=message):
        Columns.from_rows(lambda: [part], 3, 2)


@pytest.mark.parametrize("lengths", [(2, 1), (1, 2)])
def test_parts_that_change_between_the_two_readings_are_an_error(lengths: tuple[int, int]) -> None:
    readings = iter(lengths)

    def parts() -> list[Part]:
        n = next(readings)
        return [(np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n))]

    with pytest.raises(ValueError, match="the second time"):
        Columns.from_rows(parts, 3, 1)
