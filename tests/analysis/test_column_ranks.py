"""Ranks from the nonzeros alone equal those that are counted one by one."""

import numpy as np

from actkit.analysis.column_ranks import distinct, sums, touched, twice_below
from actkit.analysis.columns import Columns


def test_twice_below_counts_less_twice_and_equal_once() -> None:
    random = np.random.default_rng(0)
    segments, values = random.integers(0, 5, 60), random.integers(1, 4, 60).astype(np.float32) / 3
    chosen = random.random(60) < 0.4
    for some, found in zip((np.ones(60, dtype=bool), chosen), twice_below(segments, values, chosen), strict=True):
        for at in range(60):
            own = (segments == segments[at]) & some
            assert found[at] == 2 * (values[own] < values[at]).sum() + (values[own] == values[at]).sum()


def test_of_nothing_there_is_nothing() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert [len(found) for found in twice_below(empty, np.zeros(0, np.float32), empty.astype(bool))] == [0, 0]
    assert [len(found) for found in distinct(empty)] == [0, 0]
    assert sums(empty, empty, 3).tolist() == [0.0, 0.0, 0.0]


def test_distinct_is_numpys_unique() -> None:
    keys = np.random.default_rng(1).integers(0, 20, 100)
    values, number = np.unique(keys, return_inverse=True)
    found = distinct(keys)
    assert found[0].tolist() == number.tolist() and found[1].tolist() == values.tolist()


def test_touched_names_each_pair_of_column_and_cluster_once() -> None:
    dense = np.array([[1, 0, 2], [3, 0, 0], [0, 0, 4]])
    rows, ids = np.nonzero(dense)
    columns = Columns.of((rows, ids, dense[rows, ids].astype(float)), 3, 3)
    pair, owner, cluster = touched(columns, np.array([0, 0, 1]), 2)
    assert list(zip(owner.tolist(), cluster.tolist(), strict=True)) == [(0, 0), (2, 0), (2, 1)]
    assert np.bincount(pair).tolist() == [2, 1, 1]
