"""Batches hold every kept position once, stay under the budget, and run nothing that is not read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.pipeline.data import Batch, Encoding, TokenSequence
from actkit.pipeline.plan import plan


def sequence(
    number: int, length: int, keep: list[int], parent: int | None = None, start: int = 0, first_id: int = 10
) -> TokenSequence:
    ids = np.arange(first_id, first_id + length)
    flags = np.zeros(length, dtype=bool)
    encoding = Encoding("x" * length, ids, np.arange(length), np.arange(1, length + 1), flags, (None,) * length)
    return TokenSequence(
        number, encoding, np.array(keep, dtype=np.int64), sequence_id=number, parent=parent, start=start
    )


def family(first: int, prefix: int, tails: list[int]) -> list[TokenSequence]:
    """A shared prefix and its continuations, everything kept."""
    shared = sequence(first, prefix, list(range(prefix)))
    return [
        shared,
        *(
            sequence(first + 1 + index, prefix + tail, list(range(prefix, prefix + tail)), parent=first, start=prefix)
            for index, tail in enumerate(tails)
        ),
    ]


def read(batches: list[Batch]) -> list[tuple[int, int, int, int]]:
    """(sequence, position, token id, position id) of every kept row."""
    return sorted(
        (int(one), int(position), int(batch.input_ids[row, column]), int(batch.positions[row, column]))
        for batch in batches
        for row, column, one, position in zip(
            batch.rows, batch.columns, batch.sequence_ids, batch.kept_positions, strict=True
        )
    )


families = st.lists(st.tuples(st.integers(1, 12), st.lists(st.integers(0, 9), max_size=3)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(families, st.integers(1, 60), st.booleans())
def test_every_kept_position_is_in_one_batch(shapes: list[tuple[int, list[int]]], budget: int, share: bool) -> None:
    """Whatever the budget, prefixes shared or not: the same rows, each with its own token and position."""
    sequences: list[TokenSequence] = []
    for prefix, tails in shapes:
        sequences += family(len(sequences), prefix, tails)
    batches = list(plan(sequences, budget, share))
    expected = sorted(
        (one.sequence_id, int(position), int(one.encoding.token_ids[position]), int(position))
        for one in sequences
        for position in one.keep
    )
    assert read(batches) == expected
    for batch in batches:
        assert batch.input_ids.numel() <= max(budget, batch.input_ids.shape[1])


def test_a_shared_prefix_is_run_once() -> None:
    """Prefix 8 with tails of 3 and 4: 15 tokens shared, 23 when every sequence is run whole."""
    sequences = family(0, 8, [3, 4])
    (shared,) = plan(sequences, 1000, share_prefixes=True)
    assert shared.input_ids.shape == (1, 15)
    (apart,) = plan(sequences, 1000, share_prefixes=False)
    assert apart.input_ids.shape == (2, 12)
    assert apart.tree is None


def test_siblings_do_not_see_each_other() -> None:
    """The mask of a tree: prefix causal, each tail sees the prefix and itself (TRAPS 19)."""
    (batch,) = plan(family(0, 2, [2, 1]), 1000, share_prefixes=True)
    assert batch.tree is not None
    assert batch.tree[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 2]


def test_padding_sees_itself_only() -> None:
    """A padded query with nothing to attend to would be NaN."""
    (batch,) = plan([*family(0, 2, [2, 1]), *family(3, 1, [1, 1])], 1000, share_prefixes=True)
    assert batch.tree is not None
    padded = batch.tree[1, 3:]
    assert padded.sum(-1).tolist() == [1, 1]
    assert batch.tree.any(-1).all()


@pytest.mark.parametrize("share", [True, False])
def test_nothing_after_the_last_kept_position_is_run(share: bool) -> None:
    """To read one position, the tokens after it are not needed."""
    (batch,) = plan([sequence(0, 50, [4])], 1000, share)
    assert batch.input_ids.shape == (1, 5)
    shared, chosen, rejected = family(0, 8, [20, 30])
    divergence = [sequence(0, 8, []), sequence(1, 28, [8], parent=0, start=8), sequence(2, 38, [8], parent=0, start=8)]
    (batch,) = plan(divergence, 1000, share)
    assert batch.input_ids.numel() == (10 if share else 18)
    assert len(shared.keep) and len(chosen.keep) and len(rejected.keep)


def test_a_sequence_that_nothing_is_read_from_is_not_run() -> None:
    assert list(plan([sequence(0, 9, [])], 100, True)) == []
    assert list(plan([sequence(0, 9, [])], 100, False)) == []


def test_a_row_beyond_the_budget_is_a_batch_of_its_own() -> None:
    batches = list(plan([sequence(0, 30, [29]), sequence(1, 4, [3]), sequence(2, 4, [3])], 10, True))
    assert [tuple(batch.input_ids.shape) for batch in batches] == [(1, 30), (2, 4)]
