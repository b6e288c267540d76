"""Ranks in sparse columns, from the nonzeros alone: the zeros of a column tie below all of them."""

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import Bools, Columns, Floats, Ints


def twice_below(segments: Ints, values: npt.NDArray[np.float32], chosen: Bools) -> tuple[Ints, Ints]:
    """Return for each value [k] above 0 twice the number of smaller values in its segment, plus that of equal ones.

    A value counts as equal to itself. The first result counts all values of the segment, the second the `chosen` ones
    [k]: whole numbers, so that sums are exact and equal sums compare equal. `segments` [k] are 0 to 2^31 - 1.
    """
    # The bits of positive floats are ordered as the floats are, so one integer sorts by segment, then by value.
    keys = (segments.astype(np.uint64) << np.uint64(32)) | np.ascontiguousarray(values).view(np.uint32)
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    ends = np.append(starts[1:], len(keys))
    segment = keys[starts] >> np.uint64(32)
    first = np.concatenate([[True], segment[1:] != segment[:-1]])[: len(starts)]
    opening = np.maximum.accumulate(np.where(first, starts, 0))
    running = np.concatenate([[0], np.cumsum(chosen[order])])
    found = []
    for counts in (starts + ends - 2 * opening, running[starts] + running[ends] - 2 * running[opening]):
        unsorted = np.empty(len(keys), dtype=np.int64)
        unsorted[order] = np.repeat(counts, ends - starts)
        found.append(unsorted)
    return found[0], found[1]


def touched(columns: Columns, cluster_of_row: Ints, n_clusters: int) -> tuple[Ints, Ints, Ints]:
    """Find the pairs of a column and a cluster of rows that have a nonzero.

    Returns the number of each nonzero's pair [nnz], and the column and cluster of each pair [pairs], ascending.
    """
    pair, keys = distinct(columns.owners() * n_clusters + cluster_of_row[columns.rows])
    return pair, *np.divmod(keys, n_clusters)


def distinct(keys: Ints) -> tuple[Ints, Ints]:
    """Return the number of each key's value [k], and the values, ascending; fast where keys are nearly sorted."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(keys)]
    number = np.empty(len(keys), dtype=np.int64)
    number[order] = np.cumsum(first) - 1
    return number, ordered[first]


def sums(of: Ints, values: npt.NDArray[np.generic], n: int) -> Floats:
    """[n] for each number below n the sum of the `values` [k] that have it in `of` [k]."""
    return np.bincount(of, values, n).astype(np.float64)  # bincount of no values returns integers
