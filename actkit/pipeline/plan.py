"""Stage 3, plan: token sequences of one shard become batches under a token budget.

1. A sequence and the ones that continue it make a family. Where the model can, a family is one row of a batch, its
   shared beginning standing there once (a tree: each part attends to itself and to what it continues). Elsewhere
   every end of the family is a row of its own, with the whole path, and a shared position is read from the first.
2. Rows are sorted by length, longest first, so that little is padded and running out of memory shows at once, and
   packed so that rows × longest row <= `batch_tokens`. A longer row is a batch of its own.
3. Padding is on the right. Attention is causal, so nothing before it can see it.
4. Where memory runs out, a plan halves its last batch and keeps to that from then on; a family that does not fit as
   one row is run as one row a path, which is shorter.

The order is a function of the sequences alone. Rows are put back into input order after the forward pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actkit.pipeline.data import Batch, Bools, Ints, TokenSequence
from actkit.pipeline.families import Row, families, is_path, length, longest_first, paths, tree


@dataclass
class Budget:
    """How many tokens one forward pass may have; it never grows."""

    tokens: int
    fits: int = 0
    """Tokens of the longest row that has been run: memory that is short for a shorter one is used by something else."""


class Plan:
    """The batches of one shard, one after another; every kept position of every sequence is in exactly one of them."""

    def __init__(self, sequences: Sequence[TokenSequence], budget: Budget, share_prefixes: bool) -> None:
        make = tree if share_prefixes else paths
        self._rows = longest_first([row for family in families(sequences) for row in make(family)])
        self._budget = budget
        self._last: list[Row] = []

    def __iter__(self) -> Iterator[Batch]:
        """Batches of what is left, longest rows first."""
        while self._rows:
            most = max(self._budget.tokens // length(self._rows[0]), 1)
            self._last, self._rows = self._rows[:most], self._rows[most:]
            yield _batch(self._last)
            if self._last:
                self._budget.fits = max(self._budget.fits, length(self._last[0]))

    def split(self) -> bool:
        """Put the last batch back, to be run in smaller ones; False where it cannot be made smaller."""
        last, self._last = self._last, []
        if len(last) > 1:
            self._budget.tokens = len(last) // 2 * length(last[0])
        elif is_path(last[0]):
            return False
        else:
            last = paths([node.sequence for node in last[0]])
        self._rows = longest_first(last + self._rows)
        return True


def plan(sequences: Sequence[TokenSequence], batch_tokens: int, share_prefixes: bool) -> Iterator[Batch]:
    """The batches of one shard, where memory is no concern."""
    return iter(Plan(sequences, Budget(batch_tokens), share_prefixes))


def _batch(rows: Sequence[Row]) -> Batch:
    width = max(length(row) for row in rows)
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
