"""The strongest tokens of each feature: the same however they come in, and with the text that stands around them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.analysis import contexts
from actkit.analysis.contexts import Strongest, contexts_of
from actkit.analysis.windows import AROUND
from actkit.schemas import CONTEXTS, arrow_schema

Entry = tuple[int, float, int, int]
"""Feature, activation, sequence, position."""


def added(entries: Sequence[Entry], n_features: int, most: int, parts: Sequence[Sequence[int]]) -> Strongest:
    """The entries of the sequences of each of `parts`, a part after another."""
    strongest = Strongest(n_features, most)
    for part in parts:
        here = sorted((entry for entry in entries if entry[2] in part), key=lambda context: context[2:])
        columns = list(zip(*here, strict=True)) if here else [(), (), (), ()]
        dtypes = (np.int64, np.float32, np.int64, np.int64)
        strongest.add(*(np.array(column, dtype=dtype) for column, dtype in zip(columns, dtypes, strict=True)))
    return strongest


def listed(strongest: Strongest, feature: int) -> list[tuple[float, int, int]]:
    """(activation, sequence, position), strongest first; what is empty must be zero throughout."""
    columns = (strongest.activations[feature], strongest.sequence_ids[feature], strongest.positions[feature])
    rows = [(float(value), int(sequence), int(place)) for value, sequence, place in zip(*columns, strict=True)]
    found = [row for row in rows if row[0] > 0]
    assert rows == found + [(0.0, 0, 0)] * (len(rows) - len(found))
    return found


def brute_force(entries: Sequence[Entry], feature: int, most: int) -> list[tuple[float, int, int]]:
    """The best token of each sequence, the first of equal ones; then the best sequences, the first of equal ones."""
    best: dict[int, tuple[float, int, int]] = {}
    for _, value, sequence, place in sorted(entry for entry in entries if entry[0] == feature):
        row = (value, sequence, place)
        if sequence not in best or (-value, place) < (-best[sequence][0], best[sequence][2]):
            best[sequence] = row
    return sorted(best.values(), key=lambda row: (-row[0], row[1]))[:most]


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 7.0]), st.integers(0, 11), st.integers(0, 5)
    ),
    max_size=120,
    unique_by=lambda entry: (entry[0], entry[2], entry[3]),
)


@settings(max_examples=100, deadline=None)
@given(entries=ENTRIES, most=st.integers(1, 5), cuts=st.sets(st.integers(1, 11)), waiting=st.sampled_from([0, 9, 99]))
def test_the_strongest_are_those_of_all_at_once_however_they_come_in(
    entries: list[Entry], most: int, cuts: set[int], waiting: int
) -> None:
    """Equal activations are common: ties must not depend on how the sequences fall into shards, nor on what waits."""
    edges = [0, *sorted(cuts), 12]
    parts = [range(first, last) for first, last in itertools.pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contexts, "WAITING", waiting)
        strongest = added(entries, 5, most, parts)
    for feature in range(5):
        assert listed(strongest, feature) == brute_force(entries, feature, most)


def test_a_sequence_counts_once_with_its_first_best_token() -> None:
    entries = [(0, 1.0, 3, 0), (0, 2.0, 3, 4), (0, 2.0, 3, 2), (0, 1.5, 5, 1)]
    assert listed(added(entries, 1, 4, [range(9)]), 0) == [(2.0, 3, 2), (1.5, 5, 1)]


def test_equal_sequences_stay_in_order_and_a_later_one_does_not_push_out_an_earlier() -> None:
    entries = [(0, 1.0, sequence, 0) for sequence in range(6)]
    for parts in ([range(6)], [range(2), range(2, 6)], [[index] for index in range(6)]):
        assert listed(added(entries, 1, 3, parts), 0) == [(1.0, 0, 0), (1.0, 1, 0), (1.0, 2, 0)]


def test_nothing_added_is_nothing_found() -> None:
    strongest = added([], 2, 3, [[]])
    assert listed(strongest, 0) == listed(strongest, 1) == []


def test_close_activations_are_told_apart() -> None:
    """Neighbours in float32."""
    low, high = np.float32(3.0), np.nextafter(np.float32(3.0), np.float32(4.0))
    entries = [(0, float(low), 0, 0), (0, float(high), 1, 0)]
    assert [sequence for _, sequence, _ in listed(added(entries, 1, 2, [[0], [1]]), 0)] == [1, 0]


TEXTS = ("short", "é😀 " * 50, "x" * 59 + "TOKEN" + "y" * 59, "z" * 61 + "TOKEN" + "w" * 61)
OFFSETS = (0, 1000, 7, 0)
SPANS = ((0, 5), (1, 2), (59, 64), (61, 66))
"""In the sequence's own text; the table `tokens` counts in the document."""


def written(run: Path, shards: Sequence[Sequence[int]]) -> Path:
    """A run of four sequences with one token of interest each, at position 1, after a BOS without text."""
    for number, shard in enumerate(shards):
        sequences = {name: [None] * len(shard) for name in arrow_schema("sequences").names}
        sequences |= {
            "sequence_id": list(shard),
            "char_offset": [OFFSETS[index] for index in shard],
            "text": [TEXTS[index] for index in shard],
        }
        rows = [
            (index, position, OFFSETS[index] + start, OFFSETS[index] + end)
            for index in shard
            for position, (start, end) in enumerate([(0, 0), SPANS[index]])
        ]
        tokens: dict[str, Any] = {name: [None] * len(rows) for name in arrow_schema("tokens").names}
        names = ("sequence_id", "position", "char_start", "char_end")
        tokens |= {name: [row[place] for row in rows] for place, name in enumerate(names)}
        for table, columns in (("sequences", sequences), ("tokens", tokens)):
            (run / table).mkdir(exist_ok=True)
            path = run / table / f"part-{number:05d}.parquet"
            pq.write_table(pa.table(columns, schema=arrow_schema(table)), path)
    return run


@pytest.mark.parametrize("shards", [[[0, 1, 2, 3]], [[0], [], [1, 2], [3]]], ids=["one shard", "several"])
def test_text_before_and_after_is_cut_at_60_characters_and_at_the_ends(tmp_path: Path, shards: list[list[int]]) -> None:
    """Positions are the document's and the text is the chunk's: the offset between them is taken off."""
    strongest = added([(2, 1.0 + index, index, 1) for index in range(4)], 4, 3, [range(4)])
    found = contexts_of(written(tmp_path, shards), strongest, [1, 2])
    assert found.type == CONTEXTS
    nothing, three = found.to_pylist()
    assert nothing == []
    assert [(row["activation"], row["sequence_id"], row["position"]) for row in three] == [
        (4.0, 3, 1),
        (3.0, 2, 1),
        (2.0, 1, 1),
    ]
    assert [(token["before"], token["token"], token["after"]) for token in three] == [
        ("z" * AROUND, "TOKEN", "w" * AROUND),
        ("x" * 59, "TOKEN", "y" * 59),
        ("é", "😀", TEXTS[1][2 : 2 + AROUND]),
    ]
    assert AROUND == 60


def test_no_features_have_no_contexts(tmp_path: Path) -> None:
    strongest = Strongest(3, 2)
    assert contexts_of(written(tmp_path, [[0]]), strongest, []).to_pylist() == []
    assert contexts_of(written(tmp_path, [[0]]), strongest, [0, 1, 2]).to_pylist() == [[], [], []]
