"""The entries of `features` of one SAE, sorted by feature in a temporary file; several tables are made of them.

1. Go over `features` once. About CHUNK entries at a time make a sparse matrix of tokens by features. Transposing it, a
   counting sort, orders them by feature, and the chunk is appended to the file. The columns of a token are appended
   once, not for each of its entries.
2. Counts of features are taken chunk by chunk (`chunks`), in any order.
3. To read the entries of a feature one after another, `ranges_of_chunks` cuts the features into ranges of about RANGE
   entries, and reads each range from all chunks.

Memory holds a chunk or a range, however many entries there are; a feature with more entries than a range comes in
slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.entry_chunk import Chunk, FeatureRows, Floats, Int32s, by_feature
from actkit.analysis.ranges_of_chunks import ranges
from actkit.analysis.scratch_file import Spill
from actkit.errors import RunError
from actkit.runs.reader import Ints, keys_of, parts, places, sae_groups, special_keys

CO_TOKENS, CO_PAIRS = 1 << 14, 2e7
"""Tokens sampled for co-activity, and the most pairs of active features in them."""


def priority_of(sequences: Ints, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """[n] numbers below 2^53 that are as good as random, and the same in every run."""
    x = keys_of(sequences, positions.astype(np.int64, copy=False)).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    # The finaliser of splitmix64 (Steele, Lea & Flood 2014).
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x >>= np.uint64(11)
    return x


class TokensAtRandom:
    """The features of random tokens, in a temporary file: the size of the sample is known only at the end.

    A token is kept if it may still be chosen, whatever comes later; the more tokens have come, the fewer are kept.
    """

    def __init__(self, file: Spill) -> None:
        self._file = file
        self._kept: list[tuple[npt.NDArray[np.uint64], Ints, int]] = []
        """Priorities and numbers of active features of some tokens [k], and where the features begin in the file."""
        self.n_tokens, self.n_entries = 0, 0

    def add(
        self,
        ids: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.integer],
        priority: npt.NDArray[np.uint64],
        own: npt.NDArray[np.bool_],
    ) -> None:
        """Add tokens [n] and their features, one token's after another's; tokens that are not `own` do not count."""
        self.n_tokens += int(own.sum())
        self.n_entries += int(lengths[own].sum())
        some = np.flatnonzero(own & (priority < CO_TOKENS / max(self.n_tokens, 1) * (1 << 53)))
        if not len(some):
            return
        ends = np.cumsum(lengths, dtype=np.int64)
        counts = lengths[some].astype(np.int64)
        first = np.cumsum(counts) - counts
        at = np.repeat(ends[some] - counts - first, counts) + np.arange(int(counts.sum()))
        self._kept.append((priority[some], counts, self._file.write(ids[at])))

    def chosen(self) -> tuple[npt.NDArray[np.int32], Ints]:
        """Return the features of the sampled tokens, one token's after another's, and their number for each token."""
        per_token = self.n_entries / max(self.n_tokens, 1)
        share = min(CO_TOKENS, CO_PAIRS / max(per_token, 1) ** 2) / max(self.n_tokens, 1)
        found, lengths = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int64)]
        for priority, counts, where in self._kept:
            own = priority / (1 << 53) < share
            if own.any():
                ids = self._file.read(where, int(counts.sum()), np.int32)
                found.append(ids[np.repeat(own, counts)])
                lengths.append(counts[own])
        return np.concatenate(found), np.concatenate(lengths)


CHUNK = 1 << 20
"""Entries that are sorted together: about 40 MB, with the memory that sorting takes."""
RANGE = 1 << 20
"""Entries that are read together, and in one part of `feature_positions`: about 60 MB."""


@dataclass(frozen=True)
class Entries:
    """Entries [n] in order of feature, then of sequence and position."""

    features: Int32s
    sequences: Ints
    positions: Int32s
    values: Floats


class EntriesByFeature:
    """The entries of one SAE of a run: its active features at every token.

    With the table `pooled_features`, an entry is a feature's strongest position in a text, and none is left out.

    Raises WriteError where the temporary file in `scratch` cannot be written, RunError for a feature that the SAE
    does not have and for an activation that is not above zero.
    """

    def __init__(self, run: Path, sae: str, d_sae: int, scratch: Path, table: str = "features") -> None:
        self.run, self.sae, self.d_sae, self.scratch = run, sae, d_sae, scratch
        self.counts = np.zeros(d_sae, dtype=np.int64)
        """[d_sae] entries, those of special tokens and sinks included, which statistics leave out."""
        self.active = np.zeros(d_sae, dtype=np.int64)
        """[d_sae] entries without those."""
        self.largest = np.zeros(d_sae, dtype=np.float32)
        """[d_sae] largest activation of these; 0 where there is none."""
        self.total = np.zeros(d_sae)
        """[d_sae] sum of them, added up in order of sequence and position."""
        self._file, self._of_tokens = Spill(scratch), table == "features"
        self._chunks: list[Chunk] = []
        self.at_random = TokensAtRandom(self._file)
        try:
            waiting: list[FeatureRows] = []
            for some in self._read(table):
                waiting.append(some)
                if sum(len(rows.ids) for rows in waiting) >= CHUNK:
                    self._append(waiting)
                    waiting = []
            self._append(waiting)
        except BaseException:
            self.close()
            raise

    def chunks(self) -> Iterator[Chunk]:
        """Yield all entries in the chunks that were read together, each chunk in order of feature."""
        yield from self._chunks

    def ranges(self) -> Iterator[Entries]:
        """Yield all entries, in order of feature. Raises WriteError for very many where `scratch` has no room."""
        for features, arrays in ranges(self._chunks, self.counts, RANGE, self.scratch):
            yield Entries(features, *arrays)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def _read(self, table: str) -> Iterator[FeatureRows]:
        """Yield rows with about CHUNK entries or fewer."""
        for part in parts(self.run, table):
            special = special_keys(self.run, part) if self._of_tokens else np.zeros(0, dtype=np.int64)
            for group in sae_groups(part, self.sae, _columns(table)):
                lengths = pc.list_value_length(group["feature_ids"]).to_numpy()
                ends = np.cumsum(lengths, dtype=np.int64)
                edges = np.searchsorted(ends, np.arange(0, (ends[-1] if len(ends) else 0) + CHUNK, CHUNK)).tolist()
                for begin, end in zip(edges, [*edges[1:], len(group)], strict=True):
                    if end > begin:
                        yield self._of_rows(group.slice(begin, end - begin), lengths[begin:end], special)

    def _of_rows(self, rows: pa.Table, lengths: npt.NDArray[Any], special: Ints) -> FeatureRows:
        ids = pc.list_flatten(rows["feature_ids"]).to_numpy()
        values = pc.list_flatten(rows["feature_activations"]).to_numpy()
        sequences = rows["sequence_id"].to_numpy()
        if len(ids) != len(values):
            raise RunError(f"{self.run}: {len(ids)} feature ids and {len(values)} activations", "the run is damaged")
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.d_sae:
            raise RunError(f"{self.run}: a feature of {self.sae} is not among its {self.d_sae:,}", "the run is damaged")
        if len(ids) and not 0 < values.min() <= values.max() < np.inf:
            raise RunError(f"{self.run}: an activation of {self.sae} is not a number above zero", "the run is damaged")
        if not self._of_tokens:
            positions = pc.list_flatten(rows["feature_positions"]).to_numpy()
            return FeatureRows(ids, values, lengths, sequences, positions, np.zeros(0, dtype=np.uint64))
        positions = rows["position"].to_numpy()
        left_out = places(special, keys_of(sequences, positions))[1]
        priorities = priority_of(sequences, positions)
        self.at_random.add(ids, lengths, priorities, ~left_out)
        if left_out.any():
            values = np.where(np.repeat(left_out, lengths), -values, values)
        return FeatureRows(ids, values, lengths, sequences, positions, priorities)

    def _append(self, waiting: list[FeatureRows]) -> None:
        if not waiting:
            return
        rows = FeatureRows(
            *(np.concatenate([getattr(some, of.name) for some in waiting]) for of in fields(FeatureRows))
        )
        starts, own, values = by_feature(rows, self.d_sae, rows.values)
        counts, n = np.diff(starts), len(rows.ids)
        there = np.flatnonzero(counts)
        if n:
            most = np.maximum.reduceat(values, starts[:-1][there])
            self.largest[there] = np.maximum(self.largest[there], most)
        self.counts += counts
        self.active += counts - np.bincount(rows.ids[rows.values < 0], minlength=self.d_sae)
        np.add.at(self.total, rows.ids.astype(np.intp), np.maximum(rows.values, 0).astype(np.float64))
        positions = rows.positions.astype(np.int32, copy=False)
        if not self._of_tokens:
            positions = by_feature(rows, self.d_sae, positions)[2]
        arrays = (starts, values, own, rows.sequences, positions, rows.priorities)
        places = tuple(self._file.write(array) for array in arrays)
        self._chunks.append(Chunk(self._file, n, len(rows.lengths), self._of_tokens, places))


def _columns(table: str) -> list[str]:
    own = "position" if table == "features" else "feature_positions"
    return ["sequence_id", own, "feature_ids", "feature_activations"]
