"""Stage 3, plan: put the token sequences of one shard into batches under a token budget.

1. Sequences with a common beginning, of any records, share a row where that saves work, and the row has the beginning
   once. Such a row is a tree: each part attends to itself and to the parts before it on its path (see `prefix_trees`).
   Where the model cannot run trees, a row is one text, which also serves the texts that equal its beginning.
2. Rows are sorted by length, longest first: little is padded, and running out of memory shows at once. They are cut
   into batches with rows × longest row <= `batch_tokens` so that the cost is least. Padding costs as much as text, and
   each batch costs something however small it is (`of_each_batch`). A longer row is a batch of its own. Rows that
   branch need a mask and are in batches of their own.
3. Padding is on the right. Attention is causal, so no token before the padding can attend to it.
4. Where memory runs out, a plan halves the open batch and keeps to that budget from then on. A row that branches and
   does not fit is run as two.

The order is a function of the sequences alone. After the forward pass, rows are put back into input order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
import torch

from actkit.pipeline.data import Batch, Bools, Ints, TokenSequence
from actkit.pipeline.forward.prefix_trees import Row, Segment, joined, kept_columns, segments

OF_WEIGHTS, OF_CALLS, ON_GPU = 40.0, 2000.0, 1024.0
"""Costs of a batch besides its tokens: see `of_each_batch`."""


@dataclass
class Budget:
    """The most tokens of one forward pass; it never grows."""

    tokens: int
    fits: int = 0
    """Tokens of the longest row run so far. Where a shorter one runs out of memory, another program uses the memory."""


class BatchPlan:
    """Gives the batches of one shard, one after another; each kept position of each sequence is in exactly one."""

    def __init__(
        self,
        sequences: Sequence[TokenSequence],
        budget: Budget,
        share_prefixes: bool,
        d_model: int,
        device: str = "cpu",
    ) -> None:
        self._budget, self._more = budget, of_each_batch(d_model, device)
        self._open: list[list[Row]] = []
        self._waiting = self._cut(joined(sequences, share_prefixes, budget.tokens, d_model))
        self._left = sum(len(row) for rows in self._waiting for row in rows)
        self._all = max(self._left, 1)

    @property
    def share(self) -> float:
        """The finished share of the tokens, 0 to 1."""
        return max(1 - self._left / self._all, 0.0)

    @property
    def running(self) -> float:
        """The share of all tokens that are in the batch opened last, 0 to 1."""
        return sum(map(len, self._open[-1])) / self._all if self._open else 0.0

    def next(self) -> Batch | None:
        """Open and return the next batch, longest rows first; None when no rows are left. `done` closes it."""
        if not self._waiting:
            return None
        self._open.append(self._waiting.pop(0))
        return _batch(self._open[-1])

    def done(self) -> None:
        """Close the batch that was opened first: it did fit into memory."""
        rows = self._open.pop(0)
        self._left -= sum(map(len, rows))
        self._budget.fits = max(self._budget.fits, len(rows[0]))

    def put_back(self) -> None:
        """Put the open batches back, to be run again unchanged."""
        self._waiting, self._open = self._open + self._waiting, []

    def split(self) -> bool:
        """Divide the one open batch into smaller ones, to be run again; False where that is not possible."""
        (last,), self._open = self._open, []
        if len(last) > 1:
            self._budget.tokens = len(last) // 2 * len(last[0])
        elif not last[0].branches:
            return False
        else:
            self._budget.tokens = min(self._budget.tokens, len(last[0]) - 1)
            last = [*last[0].halves()]
        left = [*last, *(row for rows in self._waiting for row in rows)]
        self._waiting, self._left = self._cut(left), sum(map(len, left))
        return True

    def _cut(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Cut rows into batches, longest first."""
        found = []
        for branching in (False, True):
            own = sorted((row for row in rows if bool(row.branches) == branching), key=len, reverse=True)
            ends = _cheapest(np.array([len(row) for row in own], dtype=np.int64), self._budget.tokens, self._more)
            found += [own[first:end] for first, end in pairwise([0, *ends])]
        return sorted(found, key=lambda batch: -len(batch[0]))


def of_each_batch(d_model: int, device: str) -> float:
    """Return a batch's fixed cost, whatever its size, as the number of tokens that are run in the same time.

    On a CPU, reading the model's weights costs as much as OF_WEIGHTS tokens. Calling its modules costs as much as
    (OF_CALLS / width)² tokens, since tokens of a narrow model are cheap. Both were measured on one thread with GPT-2
    small and a model 128 wide. A GPU is idle in small products; ON_GPU was not measured.
    """
    return OF_WEIGHTS + (OF_CALLS / d_model) ** 2 if torch.device(device).type == "cpu" else ON_GPU


def _cheapest(lengths: Ints, most: int, more: float) -> list[int]:
    """Return the ends of batches of rows, `lengths` [n] descending, with the fewest padded tokens plus `more` each."""
    n = len(lengths)
    least, end_of_batch = np.zeros(n + 1), np.zeros(n, dtype=np.int64)
    for first in range(n - 1, -1, -1):
        last = min(first + max(most // int(lengths[first]), 1), n)
        cost = np.arange(1, last - first + 1) * lengths[first] + least[first + 1 : last + 1]
        end_of_batch[first] = first + 1 + int(np.argmin(cost))
        least[first] = cost.min() + more
    ends, at = [], 0
    while at < n:
        at = int(end_of_batch[at])
        ends.append(at)
    return ends


def plan(
    sequences: Sequence[TokenSequence], batch_tokens: int, share_prefixes: bool, d_model: int = 768
) -> Iterator[Batch]:
    """Return the batches of one shard, without a plan for running out of memory."""
    return iter(BatchPlan(sequences, Budget(batch_tokens), share_prefixes, d_model).next, None)


def _batch(rows: Sequence[Row]) -> Batch:
    width = max(map(len, rows))
    # Padding is token id 0 at the position of its column; nothing reads it, and no token before it attends to it.
    ids = np.zeros((len(rows), width), dtype=np.int64)
    positions = np.tile(np.arange(width, dtype=np.int64), (len(rows), 1))
    tree = np.zeros((len(rows), width, width), dtype=np.bool_) if any(row.branches for row in rows) else None
    is_steered = any(member.steered is not None for row in rows for member in row.members)
    steered = np.zeros((len(rows), width), dtype=np.bool_) if is_steered else None
    kept: list[tuple[Ints, Ints, Bools]] = []
    owners: list[tuple[int, int, int]] = []
    for number, row in enumerate(rows):
        parts, paths = segments(row)
        for part in parts:
            columns = slice(part.column, part.column + part.end - part.first)
            ids[number, columns] = part.sequence.encoding.token_ids[part.first : part.end]
            positions[number, columns] = np.arange(part.first, part.end)
            if steered is not None and part.sequence.steered is not None:
                steered[number, columns] = part.sequence.steered[part.first : part.end]
        for member, path in zip(row.members, paths, strict=True):
            own = kept_columns(parts, path, member.keep), member.keep, member.encoding.is_special[member.keep]
            kept.append(own)
            owners.append((number, member.sequence_id, crc32(member.encoding.token_ids.astype("<i4").tobytes())))
        if tree is not None:
            tree[number] = _attends(parts, positions[number])
    at, position, special = (np.concatenate(part) for part in zip(*kept, strict=True))
    where, of, contents = np.repeat(np.array(owners, dtype=np.int64), [len(own) for own, _, _ in kept], axis=0).T.copy()
    return Batch(
        input_ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        tree=None if tree is None else torch.from_numpy(tree),
        rows=torch.from_numpy(where),
        columns=torch.from_numpy(at),
        sequence_ids=of,
        kept_positions=position,
        is_special=special,
        steered=None if steered is None else torch.from_numpy(steered),
        contents=contents,
    )


def _attends(parts: Sequence[Segment], positions: Ints) -> Bools:
    """[query column, key column]: a column attends to earlier positions of its own part and to parts on its path."""
    allowed = np.zeros((len(positions), len(positions)), dtype=np.bool_)
    for part in parts:
        rows = slice(part.column, part.column + part.end - part.first)
        for index, first, end in part.sees:
            column = parts[index].column
            allowed[rows, column : column + end - first] = True
        own = positions[rows]
        allowed[rows, rows] = own[None, :] <= own[:, None]
    np.fill_diagonal(allowed, True)  # padding attends to itself: softmax over no key would be NaN
    return allowed
