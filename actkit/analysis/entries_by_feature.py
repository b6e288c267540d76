"""What `features` holds of one SAE in order of feature, in a temporary file: tables that say something of each feature.

1. Go over `features` once. About CHUNK entries at a time are sorted by feature, which takes a counting sort, and
   appended with where each feature begins among them.
2. Cut the features into ranges of about RANGE entries. What each chunk has of a range is read and put where it belongs:
   entries came in order of sequence and position, and stay so within a feature.

A chunk and a range are in memory, however many entries there are; a feature of more than a range comes in slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from actkit.analysis.scratch_file import Spill
from actkit.analysis.tokens_at_random import TokensAtRandom
from actkit.errors import RunError
from actkit.runs.reader import Ints, keys_of, parts, places, sae_groups, special_keys

CHUNK = 1 << 20
"""Entries that are sorted together: about 60 MB with what sorting takes."""
RANGE = 1 << 20
"""Entries that are read together, and in one part of `feature_positions`: about 60 MB."""
ENTRY_BYTES = 16
"""Of an entry in the temporary file: its activation, sequence and position."""
LEFT_OUT = np.int32(-(1 << 31))
"""The bit of a stored position that says: a special token or a sink."""
DTYPES: tuple[npt.DTypeLike, ...] = (np.float32, np.int64, np.int32)
"""Of activations, sequences and positions in the file."""
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Entries:
    """Active features [n], ascending, each one's in order of sequence and position."""

    features: Int32s
    sequences: Ints
    positions: Int32s
    values: Floats
    is_left_out: npt.NDArray[np.bool_]
    """Of a special token or a sink, over which there are no statistics."""

    def plain(self) -> "Entries":
        """Those that statistics are over."""
        if not self.is_left_out.any():
            return self
        own = ~self.is_left_out
        return Entries(
            self.features[own], self.sequences[own], self.positions[own], self.values[own], self.is_left_out[own]
        )


@dataclass(frozen=True)
class _Chunk:
    """Where a chunk lies in the temporary file: the arrays' first bytes, that of where features begin first."""

    starts: int
    arrays: tuple[int, ...]


class EntriesByFeature:
    """The active features of one SAE of a run.

    Of the table `pooled_features` an entry is where a feature is strongest in a text, and none is left out.

    Raises WriteError where the temporary file in `scratch` cannot be written, RunError for a feature that the SAE
    does not have.
    """

    def __init__(self, run: Path, sae: str, d_sae: int, scratch: Path, table: str = "features") -> None:
        self.run, self.sae, self.d_sae, self.scratch = run, sae, d_sae, scratch
        self.counts = np.zeros(d_sae, dtype=np.int64)
        """[d_sae] entries, those that are left out included."""
        self.active = np.zeros(d_sae, dtype=np.int64)
        """[d_sae] entries without them."""
        self.largest = np.zeros(d_sae, dtype=np.float32)
        """[d_sae] largest activation of these; 0 where there is none."""
        self._file = Spill(scratch)
        self._chunks: list[_Chunk] = []
        self.at_random = TokensAtRandom(self._file)
        try:
            waiting: list[tuple[npt.NDArray[Any], ...]] = []
            for some in self._read(table):
                waiting.append(some)
                if sum(len(arrays[0]) for arrays in waiting) >= CHUNK:
                    self._append(waiting)
                    waiting = []
            self._append(waiting)
        except BaseException:
            self.close()
            raise

    def ranges(self) -> Iterator[Entries]:
        """All entries, in order of feature."""
        for first, last, size in _ranges(self.counts):
            starts = [self._file.read(chunk.starts + 4 * first, last - first + 1, np.int32) for chunk in self._chunks]
            if size <= RANGE:
                yield self._entries(first, starts)
                continue
            for begin in range(0, size, RANGE):
                yield self._entries(first, _slice(starts, begin, begin + RANGE))

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def __enter__(self) -> "EntriesByFeature":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, table: str) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """Ids, activations, sequences and positions of about CHUNK entries or fewer."""
        for part in parts(self.run, table):
            special = special_keys(self.run, part) if table == "features" else np.zeros(0, dtype=np.int64)
            for group in sae_groups(part, self.sae, _columns(table)):
                lengths = pc.list_value_length(group["feature_ids"]).to_numpy()
                ends = np.cumsum(lengths, dtype=np.int64)
                edges = np.searchsorted(ends, np.arange(0, (ends[-1] if len(ends) else 0) + CHUNK, CHUNK)).tolist()
                for begin, end in zip(edges, [*edges[1:], len(group)], strict=True):
                    if end > begin:
                        yield self._of_rows(group.slice(begin, end - begin), lengths[begin:end], special)

    def _of_rows(self, rows: pa.Table, lengths: npt.NDArray[Any], special: Ints) -> tuple[npt.NDArray[Any], ...]:
        ids = pc.list_flatten(rows["feature_ids"]).to_numpy()
        values = pc.list_flatten(rows["feature_activations"]).to_numpy()
        sequences = rows["sequence_id"].to_numpy()
        if len(ids) != len(values):
            raise RunError(f"{self.run}: {len(ids)} feature ids and {len(values)} activations", "the run is damaged")
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.d_sae:
            raise RunError(f"{self.run}: a feature of {self.sae} is not among its {self.d_sae:,}", "the run is damaged")
        if "position" not in rows.column_names:
            return ids, values, np.repeat(sequences, lengths), pc.list_flatten(rows["feature_positions"]).to_numpy()
        positions = rows["position"].to_numpy()
        left_out = places(special, keys_of(sequences, positions))[1]
        self.at_random.add(ids, lengths, sequences, positions, ~left_out)
        stored = np.where(left_out, positions.astype(np.int32) | LEFT_OUT, positions.astype(np.int32))
        return ids, values, np.repeat(sequences, lengths), np.repeat(stored, lengths)

    def _append(self, waiting: list[tuple[npt.NDArray[Any], ...]]) -> None:
        if not waiting:
            return
        ids, values, sequences, positions = (np.concatenate(arrays) for arrays in zip(*waiting, strict=True))
        n = len(ids)
        # A matrix of one row in compressed columns is a stable counting sort.
        columns = csr_array((np.arange(n, dtype=np.int32), ids, np.array([0, n])), shape=(1, self.d_sae)).tocsc()
        starts, order = columns.indptr, columns.data
        values, positions = values[order], positions[order]
        plain = positions >= 0
        of_plain = np.diff(starts) if plain.all() else np.bincount(ids[order][plain], minlength=self.d_sae)
        there = np.flatnonzero(np.diff(starts))
        if n:
            most = np.maximum.reduceat(np.where(plain, values, 0), starts[:-1][there])
            self.largest[there] = np.maximum(self.largest[there], most)
        self.counts += np.diff(starts)
        self.active += of_plain
        begin = self._file.write(starts.astype(np.int32, copy=False))
        self._chunks.append(
            _Chunk(begin, tuple(self._file.write(array) for array in (values, sequences[order], positions)))
        )

    def _entries(self, first: int, starts: list[Int32s]) -> Entries:
        """The entries of the features from `first` on, of which each chunk has those between these [k + 1] places."""
        counts = [np.diff(begins).astype(np.int64) for begins in starts]
        of_each = np.sum(counts, axis=0)
        found = [np.empty(int(of_each.sum()), dtype=dtype) for dtype in DTYPES]
        following = np.cumsum(of_each) - of_each
        for chunk, begins, here in zip(self._chunks, starts, counts, strict=True):
            n = int(here.sum())
            if n:
                to = np.repeat(following - (np.cumsum(here) - here), here) + np.arange(n)
                for array, dtype, where in zip(found, DTYPES, chunk.arrays, strict=True):
                    at = where + int(begins[0]) * np.dtype(dtype).itemsize
                    array[to] = self._file.read(at, n, dtype)
            following += here
        values, sequences, stored = found
        features = np.repeat(np.arange(first, first + len(of_each), dtype=np.int32), of_each)
        return Entries(features, sequences, stored & ~LEFT_OUT, values, stored < 0)


def _columns(table: str) -> list[str]:
    own = "position" if table == "features" else "feature_positions"
    return ["sequence_id", own, "feature_ids", "feature_activations"]


def _ranges(counts: Ints) -> Iterator[tuple[int, int, int]]:
    """First feature, the one after the last, and entries of each range; one of more than RANGE has one feature."""
    ends = np.cumsum(counts)
    first, before = 0, 0
    while first < len(counts):
        last = max(int(np.searchsorted(ends, before + RANGE, side="right")), first + 1)
        size = int(ends[last - 1]) - before
        if size:
            yield first, last, size
        first, before = last, before + size


def _slice(starts: list[Int32s], begin: int, end: int) -> list[Int32s]:
    """The same places of one feature, for its entries [begin, end) alone."""
    found, before = [], 0
    for begins in starts:
        n = int(begins[1] - begins[0])
        edges = np.clip(np.array([begin, end]) - before, 0, n)
        found.append((begins[0] + edges).astype(np.int32))
        before += n
    return found
