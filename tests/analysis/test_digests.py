"""Equal texts have equal numbers, in order of first occurrence."""

import numpy as np
import pyarrow as pa

from actkit.analysis.digests import codes_of, digests_of


def test_codes_are_those_of_arrows_dictionary() -> None:
    draw = np.random.default_rng(0)
    texts = [["", "a", "b", "ä", "a ", "A", "a\0", "x" * 5000][index] for index in draw.integers(0, 8, 200)]
    column = pa.chunked_array([texts[:90], [], texts[90:]])
    expected = column.combine_chunks().dictionary_encode().indices.to_pylist()
    assert codes_of(digests_of(column)).tolist() == expected
    assert len(set(expected)) == 8


def test_either_half_of_a_digest_tells_texts_apart() -> None:
    digests = np.array([[5, 1], [5, 2], [4, 1], [5, 1], [4, 2], [5, 2]], dtype=np.uint64)
    assert codes_of(digests).tolist() == [0, 1, 2, 0, 3, 1]


def test_of_no_texts_there_are_no_codes() -> None:
    empty = digests_of(pa.chunked_array([[]], pa.string()))
    assert empty.shape == (0, 2) and codes_of(empty).tolist() == []
