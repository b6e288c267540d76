"""A chunk of active features in the temporary file of `EntriesByFeature`: a sparse matrix of features by tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Ints

ENTRY_BYTES, TOKEN_BYTES = 8, 20
"""Bytes in the temporary file: of an entry, its activation and its row of the chunk; of a token, its sequence, position
and priority."""
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Priorities = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of a table, each of a token or a text, and their entries, one row's after another's."""

    ids: Int32s
    values: Floats
    """Below zero where statistics leave the token out."""
    lengths: npt.NDArray[np.integer]
    """[rows] entries of each."""
    sequences: Ints
    positions: npt.NDArray[np.integer]
    """[rows] of tokens; [entries] of texts, where the feature is strongest."""
    priorities: Priorities
    """[rows] `priority_of` tokens; empty for texts."""


@dataclass(frozen=True)
class Chunk:
    """Entries that were read together [n], in order of feature, each feature's in order of row."""

    file: Spill
    n: int
    n_rows: int
    of_tokens: bool
    places: tuple[int, ...]
    """First byte of each array: the starts of features, activations, rows, sequences, positions and priorities."""

    def starts(self, first: int, last: int) -> Int32s:
        """[last - first + 1] where the entries of each feature from `first` on begin, and those of `last - 1` end."""
        return self._read(0, np.int32, first, last - first + 1)

    def values(self, begin: int = 0, n: int | None = None) -> Floats:
        """Activations; below zero where statistics leave the token out."""
        return self._read(1, np.float32, begin, self.n if n is None else n)

    def rows(self, begin: int = 0, n: int | None = None) -> Int32s:
        """The row of the chunk that each entry belongs to."""
        return self._read(2, np.int32, begin, self.n if n is None else n)

    def sequences(self) -> Ints:
        """[rows] the sequence of each row."""
        return self._read(3, np.int64, 0, self.n_rows)

    def positions(self, rows: Int32s, begin: int = 0) -> Int32s:
        """Positions of the entries from `begin` on, whose rows are `rows`; in a chunk of tokens, of any entries."""
        if not self.of_tokens:
            return self._read(4, np.int32, begin, len(rows))
        own: Int32s = self._read(4, np.int32, 0, self.n_rows)[rows]
        return own

    def entries(self, begin: int, end: int) -> tuple[npt.NDArray[Any], ...]:
        """Sequences, positions and activations of the entries from `begin` to `end`, left out of statistics or not."""
        rows = self.rows(begin, end - begin)
        return self.sequences()[rows], self.positions(rows, begin), np.abs(self.values(begin, end - begin))

    def priorities(self) -> Priorities:
        """[rows] the priority of each row."""
        return self._read(5, np.uint64, 0, self.n_rows)

    def _read(self, array: int, dtype: npt.DTypeLike, begin: int, n: int) -> npt.NDArray[Any]:
        return self.file.read(self.places[array] + begin * np.dtype(dtype).itemsize, n, dtype)


def by_feature(rows: FeatureRows, d_sae: int, data: npt.NDArray[Any]) -> tuple[Int32s, Int32s, npt.NDArray[Any]]:
    """Sort entries by feature: the start of each feature [d_sae + 1], the row of each entry [n], and `data` [n]."""
    ends = np.concatenate([[0], np.cumsum(rows.lengths)])
    # From compressed rows to compressed columns: a stable counting sort.
    moved = csr_array((data, rows.ids, ends), shape=(len(rows.lengths), d_sae)).tocsc()
    return moved.indptr.astype(np.int32, copy=False), moved.indices.astype(np.int32, copy=False), moved.data


def temporary_bytes(n_tokens: int, per_token: int) -> int:
    """Return about how many bytes `n_tokens` with `per_token` entries each take in the temporary file."""
    return n_tokens * (per_token * ENTRY_BYTES + TOKEN_BYTES)
