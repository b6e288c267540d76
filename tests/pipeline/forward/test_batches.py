"""Batches hold every kept position once, stay under the budget, and run nothing that is not read."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.pipeline.data import Batch, Encoding, TokenSequence
from actkit.pipeline.forward import prefix_trees as module
from actkit.pipeline.forward.batches import of_each_batch, plan
from actkit.pipeline.forward.prefix_trees import end_of, joined


def sequence(
    number: int, ids: list[int], keep: list[int] | None = None, parent: int | None = None, start: int = 0
) -> TokenSequence:
    length = len(ids)
    flags = np.zeros(length, dtype=bool)
    encoding = Encoding("x" * length, np.array(ids), np.arange(length), np.arange(1, length + 1), flags, ())
    kept = np.array(range(start, length) if keep is None else keep, dtype=np.int64)
    return TokenSequence(number, encoding, kept, sequence_id=number, parent=parent, start=start)


def own(number: int, length: int) -> list[int]:
    """Token ids that no other number has."""
    return list(range(1000 * (number + 1), 1000 * (number + 1) + length))


def family(first: int, prefix: int, tails: list[int]) -> list[TokenSequence]:
    """A shared prefix and its continuations, everything kept."""
    head = own(first, prefix)
    branches = [
        sequence(first + 1 + index, head + own(first + 1 + index, tail), parent=first, start=prefix)
        for index, tail in enumerate(tails)
    ]
    return [sequence(first, head), *branches]


def read(batches: list[Batch]) -> list[tuple[int, int, int, int]]:
    """(sequence, position, token id, position id) of every kept row."""
    return sorted(
        (int(number), int(position), int(batch.input_ids[row, column]), int(batch.positions[row, column]))
        for batch in batches
        for row, column, number, position in zip(
            batch.rows, batch.columns, batch.sequence_ids, batch.kept_positions, strict=True
        )
    )


tokens = st.lists(st.integers(1, 3), min_size=1, max_size=14)
many = st.lists(st.tuples(tokens, st.sets(st.integers(0, 13))), min_size=1, max_size=14)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(many, st.integers(1, 60), st.booleans(), st.integers(1, 4))
def test_every_kept_position_is_read_behind_its_own_text(
    texts: list[tuple[list[int], set[int]]], budget: int, share: bool, shortest: int
) -> None:
    """Whatever is shared: each kept position once, and what its column sees, in order, is its sequence's tokens."""
    sequences = [sequence(n, ids, sorted(at for at in keep if at < len(ids))) for n, (ids, keep) in enumerate(texts)]
    before, module.SHORTEST = module.SHORTEST, shortest
    try:
        batches = list(plan(sequences, budget, share))
    finally:
        module.SHORTEST = before
    expected = sorted((sequence.sequence_id, int(at)) for sequence in sequences for at in sequence.keep)
    assert [kept_[:2] for kept_ in read(batches)] == expected
    for batch in batches:
        assert batch.input_ids.numel() <= max(budget, batch.input_ids.shape[1])
        assert share or batch.tree is None
        kept = zip(batch.rows, batch.columns, batch.sequence_ids, batch.kept_positions, strict=True)
        for row, column, record, position in kept:
            seen = np.arange(int(column) + 1) if batch.tree is None else batch.tree[row, column].nonzero()[:, 0].numpy()
            at = batch.positions[row][seen].numpy()
            assert sorted(at) == list(range(position + 1))
            ids = batch.input_ids[row][seen].numpy()[np.argsort(at)]
            assert ids.tolist() == sequences[record].encoding.token_ids[: position + 1].tolist()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(tokens, min_size=1, max_size=7), st.integers(1, 40), st.integers(1, 3), st.sampled_from([2, 768]))
def test_rows_are_the_cheapest_of_all_ways_to_cut(
    texts: list[list[int]], longest: int, shortest: int, d_model: int
) -> None:
    """Against every way to cut the ordered sequences, tried one by one."""
    sequences = [sequence(n, ids) for n, ids in enumerate(texts)]
    ordered = sorted(sequences, key=lambda sequence: (sequence.encoding.token_ids.tolist(), sequence.sequence_id))
    paths = [sequence.encoding.token_ids.tolist() for sequence in ordered]

    def cost(part: list[list[int]]) -> float:
        shared = [
            next((at for at, (a, b) in enumerate(zip(x, y, strict=False)) if a != b), min(len(x), len(y)))
            for x, y in itertools.pairwise(part)
        ]
        length = len({tuple(path[: at + 1]) for path in part for at in range(len(path))})
        branches = [n for n, path in zip(shared, part, strict=False) if n < len(path)]
        if branches and (length > longest or min(branches) < shortest):
            return float("inf")
        return (
            module.TREE_MORE * (length + length**2 / (module.TREE_COLUMNS * d_model))
            if branches
            else length + length**2 / (module.PATH_COLUMNS * d_model)
        )

    ways = itertools.product([False, True], repeat=len(paths) - 1)
    cuts = ([0, *(at + 1 for at, cut in enumerate(way) if cut), len(paths)] for way in ways)
    best = min(sum(cost(paths[a:b]) for a, b in itertools.pairwise(way)) for way in cuts)
    before, module.SHORTEST = module.SHORTEST, shortest
    try:
        rows = joined(sequences, True, longest, d_model)
    finally:
        module.SHORTEST = before
    assert sum(cost([m.encoding.token_ids.tolist() for m in row.members]) for row in rows) == pytest.approx(best)
    assert [member.sequence_id for row in rows for member in row.members] == [
        sequence.sequence_id for sequence in ordered
    ]
    for row in rows:
        assert len(row) == len({tuple(m.encoding.token_ids[: at + 1]) for m in row.members for at in range(end_of(m))})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 120), st.sampled_from([128, 2048]))
def test_batches_are_cut_where_padding_and_batches_cost_the_least(lengths: list[int], budget: int, width: int) -> None:
    """Against every way to cut the rows in order of length, tried one by one."""
    ordered = sorted(lengths, reverse=True)
    more = of_each_batch(width, "cpu")

    def cost(shapes: list[tuple[int, int]]) -> float:
        fit = all(rows == 1 or rows * longest <= budget for rows, longest in shapes)
        return sum(rows * longest + more for rows, longest in shapes) if fit else float("inf")

    ways = itertools.product([False, True], repeat=len(ordered) - 1)
    cuts = ([0, *(at + 1 for at, cut in enumerate(way) if cut), len(ordered)] for way in ways)
    best = min(cost([(b - a, ordered[a]) for a, b in itertools.pairwise(way)]) for way in cuts)
    batches = list(plan([sequence(n, own(n, length)) for n, length in enumerate(lengths)], budget, False, width))
    shapes = [(batch.input_ids.shape[0], batch.input_ids.shape[1]) for batch in batches]
    assert cost(shapes) == pytest.approx(best)
    assert [longest for _, longest in shapes] == sorted((longest for _, longest in shapes), reverse=True)


def test_documents_of_all_lengths_are_hardly_padded() -> None:
    """As many rows as the budget holds, whatever their lengths, ran 1.6 times the tokens of such documents."""
    lengths = [670, 604, 516, 492, 482, 435, 411, 257, 250, 140, 139, 83, 82, 60]
    batches = list(plan([sequence(n, own(n, length)) for n, length in enumerate(lengths)], 4096, True, 768))
    assert sum(batch.input_ids.numel() for batch in batches) < 1.05 * sum(lengths)
    assert len(batches) < len(lengths)


def test_a_shared_prefix_is_run_once() -> None:
    """Prefix 8 with tails of 3 and 4: 15 tokens shared, 23 when every sequence is run whole."""
    sequences = family(0, 8, [3, 4])
    (shared,) = plan(sequences, 1000, share_prefixes=True)
    assert shared.input_ids.shape == (1, 15)
    (apart,) = plan(sequences, 1000, share_prefixes=False)
    assert apart.input_ids.shape == (2, 12)
    assert apart.tree is None


def test_records_share_what_they_begin_with_at_every_level() -> None:
    """Two personas, three questions each, asked twice: each persona and question is run once."""
    personas = [own(0, 30), own(1, 40)]
    texts = [persona + own(10 + question, 10) for persona in personas for question in (0, 1, 2)]
    sequences = [sequence(n, ids, [len(ids) - 1]) for n, ids in enumerate(texts + texts)]
    batches = list(plan(sequences, 1000, share_prefixes=True))
    assert sum(batch.input_ids.numel() for batch in batches) <= 70 + 60 + 10  # the shorter row is padded by 10
    assert sorted(kept_[:2] for kept_ in read(batches)) == [(n, len(ids) - 1) for n, ids in enumerate(texts + texts)]
    apart = list(plan(sequences, 1000, share_prefixes=False))
    assert sum(batch.input_ids.shape[0] for batch in apart) == 6


def test_a_beginning_that_is_long_is_not_joined_to_more_than_pays() -> None:
    """200 tails behind one beginning of 100: neither a row for each nor one for all; the model's width decides."""
    sequences = [sequence(n, own(0, 100) + own(n + 1, 30)) for n in range(200)]
    narrow, wide = (joined(sequences, True, 10**6, d_model) for d_model in (768, 8192))
    assert 1 < len(wide) < len(narrow) < 200
    assert sum(map(len, narrow)) < 0.35 * 200 * 130


def test_a_few_tokens_in_common_are_not_worth_a_tree() -> None:
    (batch,) = plan([sequence(n, [1, *own(n, 5)]) for n in range(4)], 1000, share_prefixes=True)
    assert batch.tree is None and batch.input_ids.shape == (4, 6)


def test_siblings_do_not_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask of a tree: prefix causal, each tail sees the prefix and itself (TRAPS 19)."""
    monkeypatch.setattr(module, "SHORTEST", 1)
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


def test_padding_sees_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A padded query with nothing to attend to would be NaN."""
    monkeypatch.setattr(module, "SHORTEST", 1)
    (batch,) = plan([*family(0, 3, [2, 1]), *family(5, 2, [1, 1])], 1000, share_prefixes=True)
    assert batch.tree is not None and batch.input_ids.shape == (2, 6)
    padded = batch.tree[1, 4:]
    assert padded.sum(-1).tolist() == [1, 1]
    assert batch.tree.any(-1).all()


@pytest.mark.parametrize("share", [True, False])
def test_nothing_after_the_last_kept_position_is_run(share: bool) -> None:
    """To read one position, the tokens after it are not needed."""
    (batch,) = plan([sequence(0, own(0, 50), [4])], 1000, share)
    assert batch.input_ids.shape == (1, 5)
    head = own(0, 8)
    sides = [sequence(n, head + own(n, 20 + n), [8], parent=0, start=8) for n in (1, 2)]
    (batch,) = plan([sequence(0, head, []), *sides], 1000, share)
    assert batch.input_ids.numel() == (10 if share else 18)


def test_a_sequence_that_nothing_is_read_from_is_not_run() -> None:
    assert list(plan([sequence(0, own(0, 9), [])], 100, True)) == []
    assert list(plan([sequence(0, own(0, 9), [])], 100, False)) == []


def test_a_row_beyond_the_budget_is_a_batch_of_its_own() -> None:
    batches = list(plan([sequence(n, own(n, length)) for n, length in enumerate((30, 4, 4))], 10, True))
    assert [tuple(batch.input_ids.shape) for batch in batches] == [(1, 30), (2, 4)]
