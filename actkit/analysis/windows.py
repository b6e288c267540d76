"""Cut the texts around tokens out of `sequences`, part by part, and copy them only into the table that they go to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.part import open_part
from actkit.runs.reader import Ints, keys_of, part_of, parts

AROUND = 60
"""Characters of text before and after the token."""
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Windows:
    """The texts around tokens [n], in UTF-8."""

    data: Bytes
    """The texts of at least these tokens, end to end."""
    lengths: Ints
    """[k, 3] bytes of each text in `data`: before the token, of the token, after it."""
    order: Ints
    """[n] the index in `lengths` of each token's text."""

    def taken(self, some: npt.NDArray[np.integer]) -> "Windows":
        """The texts with these numbers, in this order."""
        return Windows(self.data, self.lengths, self.order[some])

    def is_repeated(self, owners: Ints) -> npt.NDArray[np.bool_]:
        """[n] whether an earlier token of the same one of `owners` [n] stands at the same place of an equal text."""
        repeated = np.zeros(len(self.order), dtype=np.bool_)
        maybe = np.flatnonzero(_is_there_twice(self._hints(owners)))
        if len(maybe):
            some = self.taken(maybe)
            texts = _pieces(self.lengths.sum(1), self.data).take(pa.array(some.order)).dictionary_encode()
            spans = self.lengths[some.order]
            keys = np.stack([owners[maybe], texts.indices.to_numpy(), spans[:, 0], spans[:, 1]])
            repeated[maybe] = True
            repeated[maybe[np.unique(keys, axis=1, return_index=True)[1]]] = False
        return repeated

    def _hints(self, owners: Ints) -> npt.NDArray[np.uint64]:
        """[n] hashes of owners and of texts' ends and lengths: equal where owner and text are, and hardly elsewhere."""
        of_all = self.lengths.sum(1)
        lengths, ends = self.lengths[self.order], np.cumsum(of_all)[self.order]
        padded = np.concatenate([np.zeros(8, dtype=np.uint8), self.data, np.zeros(8, dtype=np.uint8)])
        words = np.lib.stride_tricks.sliding_window_view(padded, 8)
        edges = [words[at].view(np.uint64)[:, 0] for at in (ends - of_all[self.order] + 8, ends)]
        long_enough = of_all[self.order] >= 8  # else the edges hold other texts' bytes
        found = owners.astype(np.uint64)
        for number in (*(edge * long_enough for edge in edges), *lengths.T.astype(np.uint64)):
            found = (found ^ (found >> np.uint64(29)) ^ number) * np.uint64(0x9E3779B97F4A7C15)
        return found

    def columns(self) -> Iterator[pa.Array]:
        """The text before the tokens, the tokens' own, and the text after them."""
        pieces = _pieces(self.lengths.reshape(-1), self.data)
        for part in range(3):
            yield pieces.take(pa.array(self.order * 3 + part)).cast(pa.string())


def _pieces(lengths: Ints, data: Bytes) -> pa.LargeBinaryArray:
    """Bytes cut into pieces [n] of these lengths."""
    ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), buffers)


def _is_there_twice(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """[n] whether each number is equal to another."""
    ranked = np.sort(numbers)
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    if not len(twice):
        return np.zeros(len(numbers), dtype=np.bool_)
    at = np.minimum(np.searchsorted(twice, numbers), len(twice) - 1)
    return np.asarray(twice[at] == numbers)


def windows_of(tokens: Sequence[Ints], lengths: Sequence[Ints], data: Bytes) -> Windows:
    """Join texts that came part by part: each part's tokens and lengths [.., 3], and the texts of all, end to end.

    The tokens are numbers from 0 on, each of which comes once.
    """
    every = np.concatenate([np.zeros(0, dtype=np.int64), *tokens])
    order = np.empty(len(every), dtype=np.int64)
    order[every] = np.arange(len(every))
    return Windows(data, np.concatenate([np.zeros((0, 3), dtype=np.int64), *lengths]), order)


def texts_of(
    run: Path, sequences: Ints, positions: Ints, blocks: Ints | None = None
) -> Iterator[tuple[Ints, Bytes, Ints]]:
    """Yield indices of tokens, the texts around them end to end, and their lengths [.., 3]; each once, in any order.

    Tokens that come together are of one part, and of one of `blocks` [n] where these are given. It takes one pass over
    `sequences` and `tokens`, with a part of each in memory.
    """
    order = np.argsort(keys_of(sequences, positions))
    ranked = sequences[order]
    for part in parts(run, "sequences"):
        with open_part(part) as file:  # opened once for both reads: there may be very many parts
            ids = file.read(["sequence_id"])["sequence_id"].to_numpy()
            low, high = np.searchsorted(ranked, [ids[0], ids[-1] + 1]) if len(ids) else (0, 0)
            wanted = order[low:high]
            if not len(wanted):
                continue
            text = _PartText(run, part, ids, file.read(["char_offset", "text"]))
        of_block = np.zeros(len(wanted), dtype=np.int64) if blocks is None else blocks[wanted]
        for number in np.unique(of_block).tolist():
            some = wanted[of_block == number]
            own, data, lengths = text.around(sequences[some], positions[some])
            yield some[own], data, lengths


class _PartText:
    """The texts of one part's sequences, and where their characters and tokens are."""

    def __init__(self, run: Path, part: Path, ids: Ints, table: pa.Table) -> None:
        tokens = part_of(run, "tokens", part, ["sequence_id", "position", "char_start", "char_end"])
        self.ids, self.offsets = ids, table["char_offset"].to_numpy()
        self.keys = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
        self.starts, self.ends = (tokens[name].to_numpy() for name in ("char_start", "char_end"))
        whole = table["text"].cast(pa.large_string()).combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        self.edges = np.frombuffer(whole.buffers()[1], dtype=np.int64)[whole.offset : whole.offset + len(whole) + 1]
        self.data = np.frombuffer(whole.buffers()[2] or b"", dtype=np.uint8)[: self.edges[-1]]
        # A byte that does not continue a character begins one.
        self.begins = np.append(np.flatnonzero((self.data & 0xC0) != 0x80), len(self.data))

    def around(self, sequences: Ints, positions: Ints) -> tuple[Ints, Bytes, Ints]:
        """Return an order of these tokens [n], their texts end to end in that order, and the texts' lengths [n, 3]."""
        row, owner = np.searchsorted(self.keys, keys_of(sequences, positions)), np.searchsorted(self.ids, sequences)
        start, end = self.starts[row] - self.offsets[owner], self.ends[row] - self.offsets[owner]
        first, last = (np.searchsorted(self.begins, self.edges)[owner + next_one] for next_one in (0, 1))
        places = [np.maximum(start - AROUND, 0), start, end, end + AROUND]
        edges = np.stack([self.begins[np.clip(first + at, first, last)] for at in places], axis=1)
        lengths = np.diff(edges, axis=1)
        # Texts of one length are copied together, without a loop over bytes.
        whole = edges[:, 3] - edges[:, 0]
        order = np.argsort(whole.astype(np.uint16), kind="stable") if whole.max() < 1 << 16 else np.argsort(whole)
        widths, firsts = np.unique(whole[order], return_index=True)
        found = []
        for width, begin, stop in zip(
            widths.tolist(), firsts.tolist(), [*firsts[1:].tolist(), len(order)], strict=True
        ):
            rows = np.lib.stride_tricks.sliding_window_view(self.data, width) if width else np.zeros((1, 0), np.uint8)
            found.append(rows[edges[order[begin:stop], 0] * (width > 0)].reshape(-1))
        return order, np.concatenate(found), lengths[order]
