"""Sequences that continue one another, as rows of a batch: all in one row as a tree, or a row for each path."""

from collections.abc import Sequence
from dataclasses import dataclass

from actkit.pipeline.data import TokenSequence


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


def families(sequences: Sequence[TokenSequence]) -> list[list[TokenSequence]]:
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


def tree(family: list[TokenSequence]) -> list[Row]:
    """The family as one row, its shared beginning standing there once; none where nothing is read."""
    ends = _ends(family)
    needed = [sequence for sequence in family if sequence.sequence_id in ends]
    index = {sequence.sequence_id: number for number, sequence in enumerate(needed)}
    nodes = tuple(
        Node(sequence, sequence.start, ends[sequence.sequence_id], index.get(_parent(sequence)), (sequence,))
        for sequence in needed
    )
    return [nodes] if nodes else []


def paths(family: list[TokenSequence]) -> list[Row]:
    """The family as a row for each of its ends, with the whole path; a shared position is read from the first."""
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


def length(row: Row) -> int:
    """Tokens of a row."""
    return sum(node.end - node.first for node in row)


def longest_first(rows: list[Row]) -> list[Row]:
    """Rows by length; equal ones stay in order."""
    return sorted(rows, key=length, reverse=True)


def is_path(row: Row) -> bool:
    """Whether no two parts of the row continue the same one: then its tokens are one text's."""
    return all(node.parent == (index - 1 if index else None) for index, node in enumerate(row))
