"""For each SAE feature, the features that are most often active at the same tokens."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array

from actkit.runs.reader import Ints
from actkit.schemas.of_features import CO_ACTIVE

KEPT, FEWEST = 8, 10
"""Features listed for each feature, and the fewest sampled tokens that a feature with a list is active on."""
BLOCK = 1024
"""Features whose pairs are counted at once."""
SMALL = 32
"""Pairs are told apart by counts up to this before they are sorted."""


def co_active(ids: npt.NDArray[np.int32], lengths: Ints, d_sae: int) -> pa.Array:
    """[d_sae] lists of the features most often active together with each, by count and then by id; type `CO_ACTIVE`.

    Counts are over random tokens: `ids` are their active features, and `lengths` [tokens] says how many each token has.
    Null for features that are active on fewer than FEWEST tokens.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    tokens = csr_array((np.ones(len(ids), dtype=np.int32), ids, ends), shape=(len(lengths), d_sae))
    features, counts = tokens.tocsc().T, np.bincount(ids, minlength=d_sae)
    known = np.flatnonzero(counts >= FEWEST)
    found = [tuple(np.zeros(0, dtype=np.int64) for _ in range(3))]
    for first in range(0, len(known), BLOCK):
        some = known[first : first + BLOCK]
        pairs = features[some] @ tokens
        rows, others, both = _most(pairs.indptr, pairs.indices, pairs.data, some)
        found.append((some[rows], others, both))
    own, others, both = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    shares, lifts = both / counts[own], both * len(lengths) / (counts[own] * counts[others])
    columns = [pa.array(others.astype(np.int32)), pa.array(shares), pa.array(lifts)]
    rows_of = pa.StructArray.from_arrays(columns, names=[field.name for field in CO_ACTIVE.value_type])
    edges = np.searchsorted(own, np.arange(d_sae + 1)).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(edges), rows_of, mask=pa.array(counts < FEWEST))
    return lists.cast(CO_ACTIVE)


def _most(starts: Ints, others: Ints, both: Ints, own: Ints) -> tuple[Ints, Ints, Ints]:
    """Return row, other feature and count of the KEPT largest counts of each row, its own feature (`own`) left out.

    A row's `others` and `both` (counts) go from its entry of `starts` to the next, in any order.
    """
    n = np.diff(starts)
    # Counts up to SMALL show the least count that KEPT features and the row's own reach; most pairs share few tokens.
    some = np.minimum(both, SMALL - 1)
    found = np.bincount(np.repeat(np.arange(len(own)) * SMALL, n) + some, minlength=len(own) * SMALL)
    above = np.cumsum(found.reshape(-1, SMALL)[:, ::-1], axis=1)
    least = SMALL - 1 - np.minimum((above <= KEPT).sum(axis=1), SMALL - 1)
    at = np.flatnonzero(some >= np.repeat(least.astype(some.dtype), n))
    rows = np.repeat(np.arange(len(own)), np.diff(np.searchsorted(at, starts)))
    # Row, count downwards and feature in one number: sorting it sorts by all three.
    keys = (rows << 44) | ((1 << 20) - both[at].astype(np.int64) << 24) | others[at]
    keys = np.sort(keys[others[at] != own[rows]])
    rows = keys >> 44
    keys = keys[np.arange(len(keys)) - np.searchsorted(rows, np.arange(len(own)))[rows] < KEPT]
    return keys >> 44, keys & ((1 << 24) - 1), (1 << 20) - ((keys >> 24) & ((1 << 20) - 1))
