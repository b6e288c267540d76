"""Counts of each SAE feature over a run's `features`, a chunk of entries at a time.

1. Entries are put into a feature's 40 bins, and its tokens at random are picked.
2. The bins say from where on a feature's strongest tokens are, and those above are looked at; where too many of them
   are of the same texts, more are.

The entries of a feature come one after another in order of sequence and position, so that nothing depends on how the
run was cut into shards, and what is counted takes no memory beyond a chunk's but what is kept.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.analysis.contexts import Strongest, rank_within
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.entries_by_feature import EntriesByFeature
from actkit.analysis.entry_chunk import Chunk, Floats, Int32s
from actkit.runs.reader import Ints, part_of, parts

BINS = 40
SAMPLED = 25
"""Tokens of each feature that are shown by how strong they are."""
PICKED = 1.8
"""Times as many are picked at random at first: fewer than SAMPLED by a chance of 1 in 1,000."""
SPARE = 10
"""Strongest tokens beyond those shown, for those whose text is the same."""
BLOCK = 1 << 13
"""Features whose strongest tokens are looked for together."""
ENOUGH, MORE = 1.5, 8
"""Times as many tokens are looked at for the strongest of different texts, and how many times as many where those were
too few."""


@dataclass
class Tally:
    """Counts of `d_sae` features."""

    histogram: Ints
    """[d_sae, BINS]."""
    strongest: Strongest
    sampled: tuple[Ints, ...]
    """Feature, sequence, position and bits of the activation of tokens at random, up to SAMPLED of each feature."""


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
    """Tokens at random of a chunk and their priorities; `limit` [d_sae] is below which priority a feature's are."""
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
    """Of each feature those that come first at random, in the order of tokens as before."""
    by_chance = _by_both(features, order)
    kept = np.zeros(len(features), dtype=np.bool_)
    kept[by_chance[rank_within(features[by_chance]) < SAMPLED]] = True
    return features[kept], sequences[kept], positions[kept], bits[kept]


def _by_both(features: Ints, priorities: Ints) -> Ints:
    """The order by feature, then by priority, numbers below 2^53: most are told apart by their first 32 bits."""
    keys = features << 32 | priorities >> 21
    order = np.argsort(keys)
    ranked = keys[order]
    equal = ranked[1:] == ranked[:-1]
    tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
    some = order[tied]
    order[tied] = some[np.lexsort((some, priorities[some], ranked[tied]))]
    return order


class _Kinds:
    """A number for each sequence of a run, which is the same where texts are."""

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
    """The `most` strongest tokens of each feature, of texts that differ.

    A bin holds what is stronger than all that is in the bins below it: where the tokens of the bins from `lowest` on
    are of as many texts, those below need not be looked at.
    """
    found, kinds = Strongest(entries.d_sae, most), _Kinds(entries)
    above = np.cumsum(histogram[:, ::-1], axis=1)
    wanting, enough = entries.active > 0, ENOUGH * most
    while wanting.any():
        lowest = BINS - 1 - np.minimum((above < enough).sum(1), BINS - 1)
        # A bin's edge is rounded.
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
