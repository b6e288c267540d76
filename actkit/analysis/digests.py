"""Digests of texts and of vectors: they show which are equal without holding them in memory."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.reader import Ints

Digests = npt.NDArray[np.uint64]


def digests_of(column: pa.ChunkedArray) -> Digests:
    """[n, 2] 128 bits of each text: the chance that any two of a billion different texts agree is 1 in 10^21."""
    digests = (blake2b(text, digest_size=16).digest() for text in column.cast(pa.binary()).to_pylist())
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


def digests_of_rows(rows: npt.NDArray[np.floating]) -> Digests:
    """[n, 2] 128 bits of each row of [n, d]; 0 and -0 are the same."""
    plain = np.ascontiguousarray(rows) + rows.dtype.type(0)
    return np.frombuffer(b"".join(blake2b(row, digest_size=16).digest() for row in plain), np.uint64).reshape(-1, 2)


def codes_of(digests: Digests) -> Ints:
    """[n] numbers of digests [n, 2], the same where digests are equal, from 0 in order of first occurrence."""
    order = np.lexsort(digests.T)
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(1)
    first = order[new]  # the first occurrence of each digest, since the sort is stable
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    codes = np.empty(len(order), dtype=np.int64)
    codes[order] = number[np.cumsum(new) - 1]
    return codes
