"""The vectors that describe preference pairs, for all pairs of a shard at once: at the divergence, and means.

Sums for the means are products with a sparse matrix of ones, some pairs at a time. Each adds up in order of position,
in float64; memory holds the shard and at most BLOCK numbers in float64.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from actkit.analysis.columns import Bools
from actkit.runs.reader import Ints, Rows, keys_of, part_of, places

SIDES = ("chosen", "rejected")
BLOCK = 1 << 20
"""Numbers of a shard's vectors that are in memory in float64 at once; more only where a single pair has more."""
Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PreferencePairs:
    """The pairs [n] of a shard: where their sequences are, where responses stand, and where divergences begin."""

    record_ids: Ints
    sequences: Mapping[str, Ints]
    """shared, chosen, rejected → sequence_id; -1 where a pair has none."""
    response: Mapping[str, tuple[Ints, Ints]]
    """side → positions [first, last) of its response."""
    divergence: Mapping[str, Ints]
    """side → position; -1 where it has no token there."""


def pairs_of(run: Path, part: Path) -> PreferencePairs:
    """Read the pairs of the shard of `part`, in order."""
    columns = ["record_id", "side", "sequence_id"]
    pairs, sequences = part_of(run, "pairs", part), part_of(run, "sequences", part, columns)
    records = pairs["record_id"].to_numpy()
    of_side = {side: sequences.filter(pc.equal(sequences["side"], side)) for side in ("shared", *SIDES)}
    ids = {side: _known(table["record_id"], table["sequence_id"], records) for side, table in of_side.items()}
    tokens = part_of(run, "tokens", part, ["sequence_id", "position", "role"])
    said = tokens.filter(pc.equal(tokens["role"], "assistant"))
    # Positions of a sequence ascend: its last one is where another sequence follows.
    last = np.flatnonzero(np.diff(said["sequence_id"].to_numpy(), append=-1))
    answered = said.take(pa.array(last))
    response = {}
    for side in SIDES:
        ends = [_known(answered["sequence_id"], answered["position"], ids[part]) + 1 for part in ("shared", side)]
        response[side] = pairs[f"{side}_response_start"].to_numpy(), np.maximum(*ends)
    divergence = {side: pc.fill_null(pairs[f"{side}_divergence"], -1).to_numpy() for side in SIDES}
    return PreferencePairs(records, ids, response, divergence)


def _known(keys: pa.ChunkedArray, values: pa.ChunkedArray, wanted: Ints) -> Ints:
    """[n] the value of each wanted key; -1 where there is none. Keys ascend."""
    at, there = places(keys.to_numpy(), wanted)
    found = np.full(len(wanted), -1, dtype=np.int64)
    found[there] = values.to_numpy()[at[there]]
    return found


def divergence_rows(pairs: PreferencePairs, side: str, rows: Rows) -> Ints:
    """[n] the row of the side's vector at the divergence; -1 where it has no token there or none is stored."""
    position, sequence = pairs.divergence[side], pairs.sequences[side]
    at, there = places(keys_of(rows.sequence_ids, rows.positions), keys_of(sequence, position))
    return np.where(there & (position >= 0) & (sequence >= 0), at, -1)


def _response_spans(pairs: PreferencePairs, rows: Rows) -> Ints:
    """[n, 2, 2, 2] the rows [first, last) of each side's response: in the shared sequence, and in the side's own."""
    keys = keys_of(rows.sequence_ids, rows.positions)
    spans = np.empty((len(pairs.record_ids), 2, 2, 2), dtype=np.int64)
    for number, side in enumerate(SIDES):
        for part, sequence in enumerate((pairs.sequences["shared"], pairs.sequences[side])):
            first, last = (np.searchsorted(keys, keys_of(sequence, edge)) for edge in pairs.response[side])
            spans[:, number, part, 0], spans[:, number, part, 1] = first, np.maximum(first, last)
    return spans


def response_means(pairs: PreferencePairs, rows: Rows, plain: Bools) -> Iterator[tuple[slice, Vectors, Ints]]:
    """Yield some pairs at a time: their slice, both responses' means [k, 2, d_model], and their numbers of rows [k, 2].

    Means are over rows that are `plain` [rows]; the mean over none is 0.
    """
    spans = _response_spans(pairs, rows)
    before = np.concatenate([[0], np.cumsum(plain)])
    counts = before[spans[..., 1]] - before[spans[..., 0]]
    step = max(BLOCK // max(rows.activations.shape[1], 1), 1)
    for begin, end in _blocks(spans.reshape(len(spans), -1, 2), step):
        own, n = spans[begin:end].reshape(-1, 2), counts[begin:end].reshape(-1)
        lengths = own[:, 1] - own[:, 0]
        at = np.repeat(own[:, 0] - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
        at = at[plain[at]]
        first, last = (int(at.min()), int(at.max()) + 1) if len(at) else (0, 0)
        ends = np.concatenate([[0], np.cumsum(n)])
        ones = csr_array((np.ones(len(at)), at - first, ends), shape=(len(n), last - first))
        sums = ones @ rows.activations[first:last].astype(np.float64)
        total = sums.reshape(end - begin, 2, 2, -1).sum(axis=2)
        of_each = counts[begin:end].sum(axis=2)
        yield slice(begin, end), total / np.maximum(of_each, 1)[..., None], of_each


def _blocks(spans: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges [begin, end) of pairs whose `spans` [n, k, 2] lie within `most` rows, or of a single pair."""
    begin = 0
    while begin < len(spans):
        some = spans[begin : begin + most + 1]
        filled = some[..., 1] > some[..., 0]
        first = np.minimum.accumulate(np.where(filled, some[..., 0], np.iinfo(np.int64).max).min(axis=1))
        last = np.maximum.accumulate(np.where(filled, some[..., 1], 0).max(axis=1))
        end = begin + max(int(np.searchsorted(last - np.minimum(first, last), most, side="right")), 1)
        yield begin, end
        begin = end
