"""Where features are strongest: the best tokens of each, gathered part by part, and the text around them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.reader import Ints, keys_of, part_of, parts
from actkit.schemas import CONTEXTS

AROUND = 60
"""Characters of text before and after the token."""
AT_ONCE = 1 << 20
"""Entries that are looked at together."""
WAITING = 1 << 14
"""Entries after which what waits is taken in; more where there are very many features."""
CUT = 1 << 12
"""Windows that are cut out of a text together."""
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class Strongest:
    """The `most` strongest tokens of each feature, no two of one kind; equal ones in order of sequence.

    A kind is a sequence where none are given. What comes in waits until it is much, since most of it is weaker than
    what is known by then. Memory is `most` × n_features × 30 bytes and twice that for what waits.
    """

    def __init__(self, n_features: int, most: int) -> None:
        shape = (n_features, most)
        self._activations: Floats = np.zeros(shape, dtype=np.float32)
        self._sequence_ids, self._positions, self._kinds = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        self._least: Floats = np.zeros(n_features, dtype=np.float32)
        """[n_features] what a token must exceed to be among them."""
        self._waiting: list[tuple[Ints, Floats, Ints, Ints, Ints]] = []
        self._count, self._most_waiting = 0, max(WAITING, n_features * most)

    @property
    def activations(self) -> Floats:
        """[n_features, most], strongest first; 0 where there are fewer."""
        self._settle()
        return self._activations

    @property
    def sequence_ids(self) -> Ints:
        """[n_features, most] of those tokens."""
        self._settle()
        return self._sequence_ids

    @property
    def positions(self) -> Ints:
        """[n_features, most] of those tokens."""
        self._settle()
        return self._positions

    def add(
        self,
        feature_ids: npt.NDArray[np.integer],
        activations: Floats,
        sequence_ids: Ints,
        positions: Ints,
        kinds: Ints | None = None,
        tokens: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Add arrays [n], an entry for each feature of each token, in order of sequence and position.

        With `tokens` [n], the last three arrays are of tokens, and it says which token each entry is of.
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
                self._settle()

    def _settle(self) -> None:
        """Take what waits in, and know better afterwards what is too weak."""
        if not self._count:
            return
        most = self._activations.shape[1]
        every = tuple(np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        touched = np.flatnonzero(np.bincount(every[0], minlength=len(self._least)))
        known: tuple[npt.NDArray[Any], ...] = (self._activations, self._sequence_ids, self._positions, self._kinds)
        # Earlier ones come first, so that of equal ones they stay.
        old = (np.repeat(touched, most), *(array[touched].reshape(-1) for array in known))
        ids, values, sequences, places, kinds = (np.concatenate(arrays) for arrays in zip(old, every, strict=True))
        # A positive float32 is ordered as its bits are.
        order = stable_order((ids << 32) | (np.int64(0x7FFFFFFF) - values.view(np.int32)))
        order = order[values[order] > 0]
        first = _first_of_kind(ids[order], kinds[order])
        order = order[first]
        ids = ids[order]
        rank = np.arange(len(ids)) - np.searchsorted(ids, ids, side="left")
        order, ids, rank = order[rank < most], ids[rank < most], rank[rank < most]
        for array, new in zip(known, (values, sequences, places, kinds), strict=True):
            array[touched] = 0
            array[ids, rank] = new[order]
        self._least = self._activations[:, -1].copy()


def stable_order(keys: Ints) -> Ints:
    """The order that sorts keys [n], equal ones as they come; numpy's own stable sort takes several times as long."""
    order = np.argsort(keys)
    ranked = keys[order]
    equal = ranked[1:] == ranked[:-1]
    if equal.any():
        tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
        order[tied] = order[tied][np.lexsort((order[tied], ranked[tied]))]
    return order


def _first_of_kind(ids: Ints, kinds: Ints) -> Ints:
    """Where each kind of a feature comes first, ascending; ids [n] and kinds [n]."""
    if kinds.max(initial=0) >> 40 or ids.max(initial=0) >> 23:
        kinds = np.unique(kinds, return_inverse=True)[1]
    keys = (ids << 40) | kinds
    order = stable_order(keys)
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = keys[order[1:]] != keys[order[:-1]]
    return np.sort(order[first])


@dataclass(frozen=True)
class Windows:
    """The texts around tokens [n], in UTF-8."""

    texts: pa.LargeBinaryArray
    lengths: Ints
    """[n, 3] bytes before the token, of itself, after it."""

    @classmethod
    def from_bytes(cls, data: Bytes, lengths: Ints) -> "Windows":
        """Of texts end to end."""
        return cls(_pieces(lengths.sum(1), data), lengths)

    def taken(self, some: Ints) -> "Windows":
        """Those of the texts with these numbers [k], in this order."""
        return Windows(self.texts.take(pa.array(some)), self.lengths[some])

    def to_bytes(self) -> Bytes:
        """The texts end to end."""
        ends = np.frombuffer(self.texts.buffers()[1], dtype=np.int64)[self.texts.offset :][: len(self.texts) + 1]
        data = np.frombuffer(self.texts.buffers()[2] or b"", dtype=np.uint8)
        return data[ends[0] : ends[-1]]

    def codes(self) -> Ints:
        """[n] numbers that are equal where texts are, and where the token stands in them."""
        texts = self.texts.dictionary_encode().indices.to_numpy().astype(np.int64)
        _, spans = np.unique(self.lengths[:, 0] << 32 | self.lengths[:, 1], return_inverse=True)
        return np.unique(texts * (int(spans.max(initial=0)) + 1) + spans, return_inverse=True)[1]

    def columns(self) -> Iterator[pa.Array]:
        """The text before the tokens, the tokens' own, and the text after them."""
        pieces = _pieces(self.lengths.reshape(-1), self.to_bytes())
        for part in range(3):
            yield pieces.take(pa.array(np.arange(part, len(pieces), 3))).cast(pa.string())


def _pieces(lengths: Ints, data: Bytes) -> pa.LargeBinaryArray:
    """Bytes cut into pieces [n] of these lengths."""
    ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), buffers)


def joined(windows: Sequence[Windows]) -> Windows:
    """Several after one another."""
    lengths = [window.lengths for window in windows]
    texts = [pa.array([], pa.large_binary()), *(window.texts for window in windows)]
    return Windows(pa.concat_arrays(texts), np.concatenate([np.zeros((0, 3), dtype=np.int64), *lengths]))


def contexts_of(run: Path, strongest: Strongest, features: Sequence[int]) -> pa.Array:
    """For each of `features` the list of its strongest tokens with the text around them; type `schemas.CONTEXTS`."""
    chosen = np.asarray(features, dtype=np.int64)
    activations = strongest.activations[chosen]
    there = activations > 0
    sequences, positions = strongest.sequence_ids[chosen][there], strongest.positions[chosen][there]
    found = list(texts_of(run, sequences, positions))
    where = np.concatenate([np.zeros(0, dtype=np.int64), *(index for index, _ in found)])
    texts = joined([window for _, window in found]).taken(np.argsort(where))
    ends = np.concatenate([[0], np.cumsum(there.sum(1))])
    return context_lists(ends, sequences, positions, activations[there], texts)


def context_lists(ends: Ints, sequences: Ints, positions: Ints, activations: Floats, texts: Windows) -> pa.Array:
    """Lists of contexts: each from one of `ends` to the next of the [n] tokens; type `schemas.CONTEXTS`."""
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


def texts_of(run: Path, sequences: Ints, positions: Ints) -> Iterator[tuple[Ints, Windows]]:
    """Part by part, which of the tokens [n] are in it, and the texts around them.

    One pass over `sequences` and `tokens`, of which a part is in memory. Characters are counted in bytes all at once.
    """
    order = np.lexsort((positions, sequences))
    ranked = sequences[order]
    for part in parts(run, "sequences"):
        ids = part_of(run, "sequences", part, ["sequence_id"])["sequence_id"].to_numpy()
        if not len(ids):
            continue
        low, high = np.searchsorted(ranked, [ids[0], ids[-1] + 1])
        wanted = order[low:high]
        if not len(wanted):
            continue
        table = part_of(run, "sequences", part, ["char_offset", "text"])
        tokens = part_of(run, "tokens", part, ["sequence_id", "position", "char_start", "char_end"])
        keys = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
        row = np.searchsorted(keys, keys_of(sequences[wanted], positions[wanted]))
        owner = np.searchsorted(ids, sequences[wanted])
        offset = table["char_offset"].to_numpy()[owner]
        start, end = (tokens[name].to_numpy()[row] - offset for name in ("char_start", "char_end"))
        yield wanted, _around(table["text"], owner, start, end)


def _around(texts: pa.ChunkedArray, owner: Ints, start: Ints, end: Ints) -> Windows:
    """The texts around characters [start, end) of those of `texts` that are `owner` [n]."""
    whole = texts.cast(pa.large_string()).combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    ends = np.frombuffer(whole.buffers()[1], dtype=np.int64)[whole.offset : whole.offset + len(whole) + 1]
    data = np.frombuffer(whole.buffers()[2] or b"", dtype=np.uint8)[: ends[-1]]
    # A byte that does not go on with a character begins one.
    begins = np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))
    first, last = np.searchsorted(begins, ends[owner]), np.searchsorted(begins, ends[owner + 1])
    edges = [
        begins[np.clip(first + at, first, last)] for at in (np.maximum(start - AROUND, 0), start, end, end + AROUND)
    ]
    lengths = np.diff(np.stack(edges, axis=1), axis=1)
    return Windows.from_bytes(_cut(data, edges[0], edges[3]), lengths)


def _cut(data: Bytes, begins: Ints, ends: Ints) -> Bytes:
    """The bytes [begin, end) of each of `begins` and `ends`, which may overlap, end to end."""
    found = [np.zeros(0, dtype=np.uint8)]
    for first in range(0, len(begins), CUT):
        begin, lengths = begins[first : first + CUT], (ends - begins)[first : first + CUT]
        width = int(lengths.max())
        # All as long as the longest, and what is too much taken off: a copy a row, not one a byte.
        padded = np.concatenate([data, np.zeros(width, dtype=np.uint8)]) if (begin + width > len(data)).any() else data
        rows = np.lib.stride_tricks.sliding_window_view(padded, max(width, 1))[begin]
        found.append(rows[np.arange(max(width, 1)) < lengths[:, None]])
    return np.concatenate(found)
