"""`Columns`: whatever order a matrix comes in, its columns are those of scipy's, and a bad part is an error."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.analysis.columns import Columns


def made(seed: int, n_rows: int, n_columns: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rates = random.choice([0.0, 0.1, 0.5, 1.0], n_columns)
    values = random.lognormal(size=(n_rows, n_columns)).astype(np.float32)
    return values * (random.random((n_rows, n_columns)) < rates)


def columns_of(dense: np.ndarray, random: np.random.Generator | None = None) -> Columns:
    rows, ids = np.nonzero(dense)
    order = np.arange(len(rows)) if random is None else random.permutation(len(rows))
    rows, ids = rows[order], ids[order].astype(np.int32)
    return Columns.of((rows, ids, dense[rows, ids]), *dense.shape)


def check(columns: Columns, dense: np.ndarray) -> None:
    expected = sp.csc_array(dense)
    assert (columns.n_rows, columns.n_columns) == dense.shape
    np.testing.assert_array_equal(columns.starts, expected.indptr)
    np.testing.assert_array_equal(columns.rows, expected.indices)
    np.testing.assert_array_equal(columns.values, expected.data)
    assert (columns.starts.dtype, columns.rows.dtype, columns.values.dtype) == (np.int64, np.int32, np.float32)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(0, 30), n_columns=st.integers(0, 12), shuffled=st.booleans())
def test_columns_equal_scipys_whatever_the_order(seed: int, n_rows: int, n_columns: int, shuffled: bool) -> None:
    dense = made(seed, n_rows, n_columns)
    check(columns_of(dense, np.random.default_rng(seed) if shuffled else None), dense)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 30), n_columns=st.integers(1, 12))
def test_where_equals_numpys(seed: int, n_rows: int, n_columns: int) -> None:
    dense, random = made(seed, n_rows, n_columns), np.random.default_rng(seed)
    columns, rows = columns_of(dense), random.random(n_rows) < 0.5
    check(columns.where(rows), dense[rows])


def test_explicit_zeros_are_left_out_and_so_is_what_float32_cannot_hold() -> None:
    part = np.arange(3), np.zeros(3, dtype=np.int32), np.array([0.0, 1e-60, 2.0])
    columns = Columns.of(part, 3, 1)
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
        Columns.of(part, 3, 2)
