"""The strongest tokens of each feature, gathered part by part, with the text around them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.analysis.scratch_file import Spill
from actkit.analysis.windows import Windows, texts_of, windows_of
from actkit.runs.reader import Ints
from actkit.schemas import CONTEXTS

AT_ONCE = 1 << 20
"""Entries that are looked at together."""
WAITING = 1 << 14
"""Waiting entries after which they are merged; more where there are very many features."""
Floats = npt.NDArray[np.float32]


class Strongest:
    """The `most` strongest tokens of each feature, no two of one kind; equal ones in order of sequence.

    Where no kinds are given, a kind is a sequence. Added entries wait and are merged many at a time, since most of them
    are weaker than the tokens known by then. Memory is `most` × n_features × 30 bytes, and twice that for waiting ones.
    """

    def __init__(self, n_features: int, most: int) -> None:
        shape = (n_features, most)
        self._activations: Floats = np.zeros(shape, dtype=np.float32)
        self._sequence_ids, self._positions, self._kinds = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        self._least: Floats = np.zeros(n_features, dtype=np.float32)
        """[n_features] the activation that a token must exceed to be among them."""
        self._waiting: list[tuple[Ints, Floats, Ints, Ints, Ints]] = []
        self._count, self._most_waiting = 0, max(WAITING, n_features * most)

    @property
    def activations(self) -> Floats:
        """[n_features, most], strongest first; 0 where there are fewer."""
        self.settle()
        return self._activations

    @property
    def sequence_ids(self) -> Ints:
        """[n_features, most] the sequences of those tokens."""
        self.settle()
        return self._sequence_ids

    @property
    def positions(self) -> Ints:
        """[n_features, most] the positions of those tokens."""
        self.settle()
        return self._positions

    def add(
        self,
        feature_ids: npt.NDArray[np.integer],
        activations: Floats,
        sequence_ids: Ints,
        positions: npt.NDArray[np.integer],
        kinds: Ints | None = None,
        tokens: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Add arrays [n], an entry for each feature of each token, in order of sequence and position.

        With `tokens` [n], the token of each entry, `sequence_ids`, `positions` and `kinds` have an element a token.
        """
        for first in range(0, len(feature_ids), AT_ONCE):
            here = slice(first, first + AT_ONCE)
            strong = first + np.flatnonzero(activations[here] > self._least[feature_ids[here]])
            at = strong if tokens is None else tokens[strong]
            own = sequence_ids[at]
            kind = own if kinds is None else kinds[at]
            ids = feature_ids[strong].astype(np.int64)
            self._waiting.append((ids, activations[strong], own, positions[at].astype(np.int64), kind))
            self._count += len(strong)
            if self._count > self._most_waiting:
                self.settle()

    def settle(self) -> None:
        """Merge the waiting entries, and raise the activations that later tokens must exceed."""
        if not self._count:
            return
        most = self._activations.shape[1]
        every = tuple(np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        touched = np.flatnonzero(np.bincount(every[0], minlength=len(self._least)))
        known: tuple[npt.NDArray[Any], ...] = (self._activations, self._sequence_ids, self._positions, self._kinds)
        # Earlier tokens come first, so that they stay where others are equal.
        there = self._activations[touched] > 0
        old = (np.repeat(touched, there.sum(1)), *(array[touched][there] for array in known))
        ids, values, sequences, places, kinds = (np.concatenate(arrays) for arrays in zip(old, every, strict=True))
        # A positive float32 is ordered as its bits are.
        order = stable_order((ids << 32) | (np.int64(0x7FFFFFFF) - values.view(np.int32)))
        order = order[_first_of_kind(ids[order], kinds[order])]
        rank = rank_within(ids[order])
        order, rank = order[rank < most], rank[rank < most]
        ids = ids[order]
        for array, new in zip(known, (values, sequences, places, kinds), strict=True):
            array[touched] = 0
            array[ids, rank] = new[order]
        self._least = self._activations[:, -1].copy()


def rank_within(groups: Ints) -> Ints:
    """[n] how many of the same group come before each; groups [n] ascend."""
    n = len(groups)
    first = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])[:n])
    rank: Ints = np.arange(n) - np.repeat(first, np.diff(np.append(first, n)))
    return rank


def stable_order(keys: Ints, then: Ints | None = None) -> Ints:
    """Return the stable order that sorts keys [n], and equal keys by `then` [n] where it is given.

    numpy's own stable sort takes several times as long.
    """
    order = np.argsort(keys)
    ranked = keys[order]
    equal = ranked[1:] == ranked[:-1]
    if equal.any():
        tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
        some = order[tied]
        order[tied] = some[np.lexsort((some, *([] if then is None else [then[some]]), ranked[tied]))]
    return order


def _first_of_kind(ids: Ints, kinds: Ints) -> npt.NDArray[np.bool_]:
    """[n] whether each is the first of its kind for its feature; ids [n] and kinds [n]."""
    if kinds.max(initial=0) >> 40 or ids.max(initial=0) >> 23:
        kinds = np.unique(kinds, return_inverse=True)[1]
    keys = (ids << 40) | kinds
    order = stable_order(keys)
    keys = keys[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[order[1:]] = keys[1:] != keys[:-1]
    return first


def contexts_of(run: Path, strongest: Strongest, features: Sequence[int]) -> pa.Array:
    """For each of `features` the list of its strongest tokens with the text around them; type `schemas.CONTEXTS`."""
    chosen = np.asarray(features, dtype=np.int64)
    activations = strongest.activations[chosen]
    there = activations > 0
    sequences, positions = strongest.sequence_ids[chosen][there], strongest.positions[chosen][there]
    found = list(texts_of(run, sequences, positions))
    data = np.concatenate([np.zeros(0, dtype=np.uint8), *(data for _, data, _ in found)])
    texts = windows_of([own for own, _, _ in found], [lengths for _, _, lengths in found], data)
    ends = np.concatenate([[0], np.cumsum(there.sum(1))])
    return context_lists(ends, sequences, positions, activations[there], texts)


def context_lists(ends: Ints, sequences: Ints, positions: Ints, activations: Floats, texts: Windows) -> pa.Array:
    """Make lists of the contexts of tokens [n], each list from one of `ends` to the next; type `schemas.CONTEXTS`."""
    rows = pa.StructArray.from_arrays(
        [
            pa.array(sequences),
            pa.array(positions),
            pa.array(activations),
            *texts.columns(),
        ],
        names=[field.name for field in CONTEXTS.value_type],
    )
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), rows).cast(CONTEXTS)


class ContextFile:
    """Texts around tokens [n]; each block's texts wait in a temporary file of its own."""

    def __init__(self, run: Path, sequences: Ints, positions: Ints, blocks: Ints, scratch: Path) -> None:
        """Read the run's texts in one pass; `blocks` [n], ascending, is the block with which each token is read again.

        Raises WriteError where a file in `scratch` cannot be written.
        """
        n_blocks = int(blocks.max(initial=-1)) + 1
        self._firsts = np.searchsorted(blocks, np.arange(n_blocks + 1))
        self._files = [Spill(scratch) for _ in range(n_blocks)]
        self._kept: list[list[tuple[Ints, Ints]]] = [[] for _ in range(n_blocks)]
        """For each block, part by part: its tokens, and the lengths of their texts."""
        try:
            for where, data, lengths in texts_of(run, sequences, positions, blocks):
                number = int(blocks[where[0]])
                self._files[number].write(data)
                self._kept[number].append((where - self._firsts[number], lengths))
        except BaseException:
            self.close()
            raise

    def block(self, number: int) -> Windows:
        """The texts of one block's tokens, in their order."""
        kept = self._kept[number] if number < len(self._kept) else []
        n_bytes = sum(int(lengths.sum()) for _, lengths in kept)
        data = self._files[number].read(0, n_bytes, np.uint8) if kept else np.zeros(0, dtype=np.uint8)
        return windows_of([own for own, _ in kept], [lengths for _, lengths in kept], data)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            file.close()
