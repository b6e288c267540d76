"""Entries by feature in a file: what is read of a chunk is what its rows had, compared with a plain Python sort."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.analysis.entry_chunk import ENTRY_BYTES, TOKEN_BYTES, Chunk, FeatureRows, by_feature, temporary_bytes
from actkit.analysis.scratch_file import Spill

D_SAE = 5
ROWS = st.lists(st.sets(st.integers(0, D_SAE - 1)), min_size=1, max_size=12)


def made_up(rows: list[set[int]]) -> FeatureRows:
    """Rows of these features, whose activations are all different; every third of them is left out of statistics."""
    ids = np.array([feature for row in rows for feature in sorted(row)], dtype=np.int32)
    values = np.arange(1, len(ids) + 1, dtype=np.float32)
    values[2::3] *= -1
    n = np.arange(len(rows))
    lengths = np.array([len(row) for row in rows])
    return FeatureRows(ids, values, lengths, n * 10, n.astype(np.int32) + 3, n.astype(np.uint64) * 7)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_entries_are_sorted_by_feature_and_then_by_row(rows: list[set[int]]) -> None:
    made = made_up(rows)
    starts, owners, data = by_feature(made, D_SAE, made.values)
    owner = np.repeat(np.arange(len(rows)), made.lengths)
    expected = sorted(zip(made.ids.tolist(), owner.tolist(), made.values.tolist(), strict=True))
    assert list(zip(owners.tolist(), data.tolist(), strict=True)) == [entry[1:] for entry in expected]
    assert starts.tolist() == [sum(entry[0] < feature for entry in expected) for feature in range(D_SAE + 1)]
    assert starts.dtype == owners.dtype == np.int32


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    file = Spill(tmp_path)
    yield file
    file.close()


def chunk(file: Spill, rows: FeatureRows, of_tokens: bool) -> Chunk:
    """A chunk as `EntriesByFeature` writes one, after something else in the file."""
    file.write(np.arange(3, dtype=np.int8))
    starts, owners, order = by_feature(rows, D_SAE, np.arange(len(rows.ids)))
    positions = rows.positions if of_tokens else rows.positions[order]
    arrays: tuple[Any, ...] = (starts, rows.values[order], owners, rows.sequences, positions, rows.priorities)
    places = tuple(file.write(array) for array in arrays)
    return Chunk(file, len(rows.ids), len(rows.lengths), of_tokens, places)


def test_any_part_of_a_chunk_is_read(spill: Spill) -> None:
    made = made_up([{0, 3}, set(), {3}, {0, 1, 3, 4}])
    found = chunk(spill, made, of_tokens=True)
    starts, owners, values = by_feature(made, D_SAE, made.values)
    assert found.starts(0, D_SAE).tolist() == starts.tolist()
    assert found.starts(2, 4).tolist() == starts[2:5].tolist()
    assert found.values().tolist() == values.tolist() and found.values(2, 3).tolist() == values[2:5].tolist()
    assert found.rows().tolist() == owners.tolist() and found.rows(1, 2).tolist() == owners[1:3].tolist()
    assert found.sequences().tolist() == [0, 10, 20, 30] and found.priorities().tolist() == [0, 7, 14, 21]
    assert found.positions(np.array([3, 0, 3], dtype=np.int32)).tolist() == [6, 3, 6], "of tokens, the row's own"
    sequences, positions, activations = found.entries(2, 5)
    assert sequences.tolist() == (owners[2:5] * 10).tolist() and positions.tolist() == (owners[2:5] + 3).tolist()
    assert activations.tolist() == np.abs(values[2:5]).tolist(), "also of those that statistics leave out"


def test_of_texts_each_entry_has_its_own_position(spill: Spill) -> None:
    rows = [{0, 3}, {3}, {1}]
    made = made_up(rows)
    of_texts = FeatureRows(
        made.ids, made.values, made.lengths, made.sequences, np.array([5, 6, 7, 8], dtype=np.int32), made.priorities
    )
    found = chunk(spill, of_texts, of_tokens=False)
    assert found.rows().tolist() == [0, 2, 0, 1]
    assert found.entries(0, 4)[1].tolist() == [5, 8, 6, 7]
    assert found.entries(1, 3)[1].tolist() == [8, 6]


def test_bytes_in_the_temporary_file() -> None:
    assert temporary_bytes(100, 6) == 100 * (6 * ENTRY_BYTES + TOKEN_BYTES)
    entry = np.dtype(np.float32).itemsize + np.dtype(np.int32).itemsize
    token = np.dtype(np.int64).itemsize + np.dtype(np.int32).itemsize + np.dtype(np.uint64).itemsize
    assert (entry, token) == (ENTRY_BYTES, TOKEN_BYTES)
