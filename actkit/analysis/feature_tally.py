"""Counts of each SAE feature over a run's `features`, a chunk of entries at a time.

1. Count each feature's entries in 40 bins of activation, and pick random tokens.
2. The bins give a threshold for a feature's strongest tokens. Gather the tokens above it; where too many of them are of
   the same texts, lower it and gather more.

The entries of a feature come one after another in order of sequence and position, so that nothing depends on how the
run was cut into shards. Memory holds a chunk, the counts and the tokens that are kept.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.analysis.contexts import Strongest, rank_within, stable_order
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.entries_by_feature import EntriesByFeature
from actkit.analysis.entry_chunk import Chunk, Floats, Int32s
from actkit.runs.reader import Ints, part_of, parts

BINS = 40
SAMPLED = 25
"""Random tokens of each feature, which are shown in order of activation."""
PICKED = 1.8
"""At first PICKED × SAMPLED tokens are picked on average: the chance of fewer than SAMPLED is 1 in 1,000."""
SPARE = 10
"""Strongest tokens that are kept beyond those shown, in place of tokens with equal text."""
BLOCK = 1 << 13
"""Features whose strongest tokens are looked for together."""
ENOUGH, MORE = 1.5, 8
"""Tokens gathered to find the strongest of different texts, in multiples of those wanted; and the factor for the next
try where these were too few."""


@dataclass
class Tally:
    """Counts of `d_sae` features."""

    histogram: Ints
    """[d_sae, BINS]."""
    strongest: Strongest
    sampled: tuple[Ints, ...]
    """Feature, sequence, position and bits of the activation of random tokens, up to SAMPLED of each feature."""


def tally(entries: EntriesByFeature, most: int) -> Tally:
    """Count one SAE's features; `most` strongest tokens are shown."""
    histogram = np.zeros(entries.d_sae * BINS + 1, dtype=np.int64)
    first_bin = np.arange(entries.d_sae) * BINS
    scale = BINS / np.where(entries.active > 0, entries.largest, 1).astype(np.float64)
    limit = PICKED * SAMPLED / np.maximum(entries.active, 1) * (1 << 53)
    picked = [tuple(np.zeros(0, dtype=np.int64) for _ in range(5))]
    for chunk in entries.chunks():
        starts, values = chunk.starts(0, entries.d_sae), chunk.values()
        counts = np.diff(starts)
        bins = np.minimum((values * np.repeat(scale, counts)).astype(np.int32), BINS - 1)
        at = np.repeat(first_bin, counts) + bins
        at[values < 0] = len(histogram) - 1
        np.add.at(histogram, at, 1)
        picked.append(_picked(chunk, starts, values, limit))
    counted = histogram[:-1].reshape(-1, BINS)
    sampled = _first_sampled(*(np.concatenate(arrays) for arrays in zip(*picked, strict=True)))
    return Tally(counted, _strongest(entries, counted, scale, most + SPARE), sampled)


def _picked(chunk: Chunk, starts: Int32s, values: Floats, limit: npt.NDArray[np.float64]) -> tuple[Ints, ...]:
    """Return random tokens of a chunk and their priorities, which are below their feature's `limit` [d_sae]."""
    rows = chunk.rows()
    priorities = chunk.priorities()
    at = np.flatnonzero((priorities.astype(np.float64)[rows] < np.repeat(limit, np.diff(starts))) & (values > 0))
    own = rows[at]
    bits, order = values[at].view(np.int32).astype(np.int64), priorities[own].astype(np.int64)
    return _features(starts, at), chunk.sequences()[own], chunk.positions(own).astype(np.int64), bits, order


def _features(starts: Int32s, at: Ints) -> Ints:
    """The features of the entries `at`, which ascend."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(np.searchsorted(at, starts)))


def _first_sampled(features: Ints, sequences: Ints, positions: Ints, bits: Ints, order: Ints) -> tuple[Ints, ...]:
    """Keep the SAMPLED tokens of each feature with the lowest priorities (`order`), in the order in which they came."""
    # The first 32 bits of a priority, which is below 2^53, tell most tokens apart.
    by_chance = stable_order(features << 32 | order >> 21, order)
    kept = np.zeros(len(features), dtype=np.bool_)
    kept[by_chance[rank_within(features[by_chance]) < SAMPLED]] = True
    return features[kept], sequences[kept], positions[kept], bits[kept]


class _Kinds:
    """A number for each sequence of a run, the same for equal texts."""

    def __init__(self, entries: EntriesByFeature) -> None:
        ids, digests = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 2), dtype=np.uint64)]
        for part in parts(entries.run, "sequences"):
            table = part_of(entries.run, "sequences", part, ["sequence_id", "text"])
            ids.append(table["sequence_id"].to_numpy())
            digests.append(digests_of(table["text"]))
        self._ids, self._codes = np.concatenate(ids), codes_of(np.concatenate(digests))

    def of(self, sequences: Ints) -> Ints:
        """[n] the number of each sequence."""
        return self._codes[np.searchsorted(self._ids, sequences)] if len(self._ids) else sequences


def _strongest(entries: EntriesByFeature, histogram: Ints, scale: npt.NDArray[np.float64], most: int) -> Strongest:
    """Find the `most` strongest tokens of each feature, of texts that differ.

    A bin's tokens are stronger than all tokens of the bins below it: where the bins from `lowest` on have tokens of as
    many texts, the bins below are not searched.
    """
    found, kinds = Strongest(entries.d_sae, most), _Kinds(entries)
    above = np.cumsum(histogram[:, ::-1], axis=1)
    wanting, enough = entries.active > 0, ENOUGH * most
    while wanting.any():
        lowest = BINS - 1 - np.minimum((above < enough).sum(1), BINS - 1)
        # The next smaller float, since a bin's edge is rounded.
        least = np.where(wanting, np.nextafter((lowest / scale).astype(np.float32), np.float32(0)), np.float32(np.inf))
        for first in range(0, entries.d_sae, BLOCK):
            last = min(first + BLOCK, entries.d_sae)
            for chunk in entries.chunks():
                starts = chunk.starts(first, last)
                begin, n = int(starts[0]), int(starts[-1] - starts[0])
                values = chunk.values(begin, n)
                at = np.flatnonzero(values >= np.repeat(least[first:last], np.diff(starts)))
                own = chunk.rows(begin, n)[at]
                sequences = chunk.sequences()[own]
                features = first + _features(starts - starts[0], at)
                found.add(features, values[at], sequences, chunk.positions(own), kinds.of(sequences))
            found.settle()  # what has been settled is sorted again whenever more comes
        wanting &= (lowest > 0) & (found.activations[:, -1] == 0)
        enough *= MORE
    return found
