"""Put sequences with a common beginning into one row of a batch, so that the beginning is run once.

1. Each sequence is run up to its last read position; sequences without read positions are not run.
2. In the order of token ids, sequences with a common beginning stand side by side, whatever record they are of. A
   sequence that the next one equals or continues costs nothing more, and the row is still one text.
3. A row that branches is a tree. It saves the tokens that its branches share, but its attention covers all columns of
   the row. `joined` cuts the ordered sequences into rows so that the sum of both costs is least.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actkit.pipeline.data import Bools, Ints, TokenSequence

PATH_COLUMNS, TREE_COLUMNS = 3.5, 2.6
"""Columns, in units of d_model, at which attention costs as much as a block's products: causal, and with a tree's mask.
Measured with float32 on a CPU, d_model 768, 256 and 1,024 columns. Elsewhere attention is cheaper relative to the
products, so that a tree that saves work here saves it there too."""
TREE_MORE = 1.02
"""A tree's further cost, its mask and the padding of unequal rows, as a factor."""
SHORTEST = 8
"""Tokens that branches must share: a BOS alone is not worth a mask."""


@dataclass(frozen=True)
class Row:
    """Sequences that are run in one row."""

    members: tuple[TokenSequence, ...]
    """In order of their token ids."""
    shared: tuple[int, ...]
    """For each member, the number of leading tokens that it shares with the member before it; 0 for the first."""

    def __len__(self) -> int:
        """The number of tokens of the row."""
        return self._n_tokens

    @cached_property
    def _n_tokens(self) -> int:
        return sum(end_of(member) - shared for member, shared in zip(self.members, self.shared, strict=True))

    @cached_property
    def branches(self) -> list[int]:
        """Indices of members that do not continue the member before them; empty if the row is a single text."""
        return [
            index
            for index, (before, shared) in enumerate(zip(self.members, self.shared[1:], strict=False), 1)
            if shared < end_of(before)
        ]

    def halves(self) -> tuple["Row", "Row"]:
        """Divide a row that branches into two, each with half of the branches and the whole beginning."""
        branches = self.branches
        middle = branches[len(branches) // 2]
        return (
            Row(self.members[:middle], self.shared[:middle]),
            Row(self.members[middle:], (0, *self.shared[middle + 1 :])),
        )


@dataclass(frozen=True)
class Segment:
    """A part of a row: the tokens of one sequence from position `first` on."""

    sequence: TokenSequence
    first: int
    end: int
    column: int
    """The column of the row at which it begins."""
    sees: tuple[tuple[int, int, int], ...]
    """The segments on its path, itself last: the index of each, and its positions [from, to) that are on the path."""


def end_of(sequence: TokenSequence) -> int:
    """Return the number of tokens that are run: up to the last read position."""
    return int(sequence.keep[-1]) + 1 if len(sequence.keep) else 0


def joined(sequences: Sequence[TokenSequence], branching: bool, longest: int, d_model: int) -> list[Row]:
    """Group the sequences with kept positions into the rows that cost least; a tree has at most `longest` tokens.

    Without `branching` every row is one text. A row of n tokens costs n + n² / (c · d_model), in tokens; c is
    PATH_COLUMNS for rows that are one text and TREE_COLUMNS for trees, which cost TREE_MORE times that.
    """
    members = sorted(
        (sequence for sequence in sequences if len(sequence.keep)),
        key=lambda sequence: (sequence.alike[: end_of(sequence)].astype(">u4").tobytes(), sequence.sequence_id),
    )
    n = len(members)
    ends = np.array([end_of(member) for member in members], dtype=np.int64)
    shared = np.array([0, *map(common, members, members[1:])], dtype=np.int64)[:n]
    # Tokens of a row from member i to member j: ends[i] + added[j] - added[i].
    added = np.cumsum(ends - shared)
    branch = np.concatenate([[False], shared[1:] < ends[:-1]])[:n]
    off = _next(branch)
    apart = _next(branch & (shared < SHORTEST)) if branching else off
    least, cut = np.zeros(n + 1), np.zeros(n, dtype=np.int64)
    for first in range(n - 1, -1, -1):
        fits = int(np.searchsorted(added, added[first] - ends[first] + longest, side="right"))
        last = max(off[first], min(fits, apart[first]))
        if last == first + 1:  # most texts share no beginning with another
            cut[first], least[first] = last, ends[first] + ends[first] ** 2 / (PATH_COLUMNS * d_model) + least[last]
            continue
        length = (ends[first] + added[first:last] - added[first]).astype(np.float64)
        cost = length + length**2 / (PATH_COLUMNS * d_model)
        tree = slice(off[first] - first, None)
        cost[tree] = TREE_MORE * (length[tree] + length[tree] ** 2 / (TREE_COLUMNS * d_model))
        total = cost + least[first + 1 : last + 1]
        cut[first] = first + 1 + int(np.argmin(total))
        least[first] = total.min()
    rows, at = [], 0
    while at < n:
        to = int(cut[at])
        rows.append(Row(tuple(members[at:to]), (0, *map(int, shared[at + 1 : to]))))
        at = to
    return rows


def _next(flags: Bools) -> Ints:
    """[n] For each index, return the next flagged one after it; n where there is none."""
    n = len(flags)
    at = np.where(flags, np.arange(n), n)
    found: Ints = np.append(np.minimum.accumulate(at[::-1])[::-1][1:], n)[:n]
    return found


def common(before: TokenSequence, after: TokenSequence) -> int:
    """Return the number of leading tokens that two sequences share, among the tokens that are run."""
    n = min(end_of(before), end_of(after))
    differing = np.flatnonzero(before.alike[:n] != after.alike[:n])
    return int(differing[0]) if len(differing) else n


def segments(row: Row) -> tuple[list[Segment], list[tuple[tuple[int, int, int], ...]]]:
    """Return the row's segments in order of columns, and each member's path: segments, and its positions in each."""
    parts: list[Segment] = []
    paths: list[tuple[tuple[int, int, int], ...]] = []
    path: tuple[tuple[int, int, int], ...] = ()
    column = 0
    for member, shared in zip(row.members, row.shared, strict=True):
        path = tuple((index, first, min(end, shared)) for index, first, end in path if first < shared)
        if end_of(member) > shared:
            path = (*path, (len(parts), shared, end_of(member)))
            parts.append(Segment(member, shared, end_of(member), column, path))
            column += end_of(member) - shared
        paths.append(path)
    return parts, paths


def kept_columns(parts: Sequence[Segment], path: Sequence[tuple[int, int, int]], keep: Ints) -> Ints:
    """Return the columns of a row for the positions `keep` of the member with this path."""
    firsts = np.array([first for _, first, _ in path])
    on = np.searchsorted(firsts, keep, side="right") - 1
    offsets = np.array([parts[index].column - parts[index].first for index, _, _ in path])
    columns: Ints = keep + offsets[on]
    return columns
