"""Stage 3, plan: token sequences of one shard become batches under a token budget.

1. A sequence and the ones that continue it make a family. Where the model can, a family is one row of a batch, its
   shared beginning standing there once (a tree: each part attends to itself and to what it continues). Elsewhere
   every end of the family is a row of its own, with the whole path, and a shared position is read from the first.
2. Rows are sorted by length, longest first, so that little is padded and running out of memory shows at once, and
   packed so that rows × longest row <= `batch_tokens`. A longer row is a batch of its own.
3. Padding is on the right. Attention is causal, so nothing before it can see it.

The order is a function of the sequences alone. Rows are put back into input order after the forward pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actkit.pipeline.data import Batch, Bools, Ints, TokenSequence


@dataclass(frozen=True)
class Node:
    """A stretch of one row: the tokens of one sequence from `first` on, and the node that it continues."""

    sequence: TokenSequence
    first: int
    end: int
    """The node's tokens are those at positions [first, end) of its sequence: nothing after what is read is run."""
    parent: int | None
    """Index of the node in the same row that this one continues."""
    kept_from: tuple[TokenSequence, ...]
    """The sequences whose kept positions are read here."""


Row = tuple[Node, ...]


def plan(sequences: Sequence[TokenSequence], batch_tokens: int, share_prefixes: bool) -> Iterator[Batch]:
    """The batches of one shard; every kept position of every sequence is in exactly one of them."""
    rows = [row for family in _families(sequences) for row in (_tree(family) if share_prefixes else _paths(family))]
    rows.sort(key=_length, reverse=True)
    start = 0
    while start < len(rows):
        most = max(batch_tokens // _length(rows[start]), 1)
        yield _batch(rows[start : start + most])
        start += most


def _families(sequences: Sequence[TokenSequence]) -> list[list[TokenSequence]]:
    """Sequences grouped under the one without a parent, each after the one that it continues."""
    root: dict[int, list[TokenSequence]] = {}
    for sequence in sequences:
        family = [] if sequence.parent is None else root[sequence.parent]
        family.append(sequence)
        root[sequence.sequence_id] = family
    return [root[sequence.sequence_id] for sequence in sequences if sequence.parent is None]


def _ends(family: list[TokenSequence]) -> dict[int, int]:
    """sequence_id → how far it must be run; sequences that nothing is read from, nor continues, are left out."""
    ends: dict[int, int] = {}
    for sequence in reversed(family):
        if len(sequence.keep):
            ends[sequence.sequence_id] = max(int(sequence.keep[-1]) + 1, ends.get(sequence.sequence_id, 0))
        if sequence.sequence_id in ends and sequence.parent is not None:
            ends[sequence.parent] = max(sequence.start, ends.get(sequence.parent, 0))
    return ends


def _tree(family: list[TokenSequence]) -> list[Row]:
    ends = _ends(family)
    needed = [sequence for sequence in family if sequence.sequence_id in ends]
    index = {sequence.sequence_id: number for number, sequence in enumerate(needed)}
    nodes = tuple(
        Node(sequence, sequence.start, ends[sequence.sequence_id], index.get(_parent(sequence)), (sequence,))
        for sequence in needed
    )
    return [nodes] if nodes else []


def _paths(family: list[TokenSequence]) -> list[Row]:
    ends = _ends(family)
    by_id = {sequence.sequence_id: sequence for sequence in family}
    continued = {_parent(sequence) for sequence in family if sequence.sequence_id in ends}
    rows: list[Row] = []
    read: set[int] = set()
    for tip in (by_id[number] for number in sorted(ends) if number not in continued):
        path = [tip]
        while path[-1].parent is not None:
            path.append(by_id[path[-1].parent])
        new = tuple(sequence for sequence in path if sequence.sequence_id not in read)
        read.update(sequence.sequence_id for sequence in new)
        rows.append((Node(tip, 0, ends[tip.sequence_id], None, new),))
    return rows


def _parent(sequence: TokenSequence) -> int:
    return -1 if sequence.parent is None else sequence.parent


def _length(row: Row) -> int:
    return sum(node.end - node.first for node in row)


def _batch(rows: Sequence[Row]) -> Batch:
    width = max(_length(row) for row in rows)
    # Padding repeats token id 0 at the position it stands at; nothing reads it and nothing before it sees it.
    ids = np.zeros((len(rows), width), dtype=np.int64)
    positions = np.tile(np.arange(width, dtype=np.int64), (len(rows), 1))
    tree: Bools | None = None
    if any(len(row) > 1 for row in rows):
        tree = np.zeros((len(rows), width, width), dtype=np.bool_)
    kept: list[tuple[Ints, Ints, Ints, Ints, Bools]] = []
    for number, row in enumerate(rows):
        node_of = np.full(width, -1, dtype=np.int64)
        column = 0
        for index, node in enumerate(row):
            end = column + node.end - node.first
            ids[number, column:end] = node.sequence.encoding.token_ids[node.first : node.end]
            positions[number, column:end] = np.arange(node.first, node.end)
            node_of[column:end] = index
            for sequence in node.kept_from:
                at = column + sequence.keep - node.first
                row_of, id_of = np.full(len(at), number), np.full(len(at), sequence.sequence_id)
                kept.append((row_of, at, id_of, sequence.keep, sequence.encoding.is_special[sequence.keep]))
            column = end
        if tree is not None:
            tree[number] = _attends(row, node_of, positions[number])
    where, at, of, position, special = (np.concatenate(part) for part in zip(*kept, strict=True))
    return Batch(
        input_ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        tree=None if tree is None else torch.from_numpy(tree),
        rows=torch.from_numpy(where),
        columns=torch.from_numpy(at),
        sequence_ids=of,
        kept_positions=position,
        is_special=special,
    )


def _attends(row: Row, node_of: Ints, positions: Ints) -> Bools:
    """[query column, key column]: a column sees earlier positions of its own node and of those that it continues."""
    sees = np.zeros((len(row) + 1, len(row) + 1), dtype=np.bool_)  # the last one stands for padding
    for index, node in enumerate(row):
        sees[index, index] = True
        if node.parent is not None:
            sees[index] |= sees[node.parent]
    allowed: Bools = sees[node_of[:, None], node_of[None, :]] & (positions[None, :] <= positions[:, None])
    np.fill_diagonal(allowed, True)  # padding sees itself: a row of nothing would be NaN
    return allowed
