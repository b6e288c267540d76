"""What is counted of each SAE feature over a run's `features`, a range of features at a time.

The entries of a feature come one after another in order of sequence and position, so that sums do not depend on how
the run was cut into shards, and what is counted takes no memory beyond a range's but what is kept.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actkit.analysis.contexts import Strongest
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.entries_by_feature import Entries, EntriesByFeature, Int32s
from actkit.analysis.tokens_at_random import priority_of
from actkit.runs.reader import Ints, part_of, parts

BINS = 40
SAMPLED = 25
"""Tokens of each feature that are shown by how strong they are."""
PICKED = 1.8
"""Times as many are picked at random at first: fewer than SAMPLED by a chance of 1 in 1,000."""
SPARE = 10
"""Strongest tokens beyond those shown, for those whose text is the same."""


@dataclass
class Tally:
    """What was counted of `d_sae` features."""

    total: npt.NDArray[np.float64]
    histogram: Ints
    """[d_sae, BINS]."""
    strongest: Strongest
    sampled: list[tuple[Ints, ...]] = field(default_factory=list)
    """Feature, sequence, position, bits of the activation and priority of tokens at random, by feature and token."""


def tally(entries: EntriesByFeature, most: int) -> Tally:
    """Count one SAE's features; `most` strongest tokens are shown."""
    d_sae = entries.d_sae
    found = Tally(np.zeros(d_sae), np.zeros((d_sae, BINS), dtype=np.int64), Strongest(d_sae, most + SPARE))
    scale = BINS / np.where(entries.active > 0, entries.largest, 1).astype(np.float64)
    limit = PICKED * SAMPLED / np.maximum(entries.active, 1)
    kinds = _Kinds(entries)
    for every in entries.ranges():
        some = every.plain()
        if not len(some.features):
            continue
        first, last = int(some.features[0]), int(some.features[-1]) + 1
        here, own = slice(first, last), some.features - first
        counts = np.bincount(own, minlength=last - first)
        bins = np.minimum((some.values * np.repeat(scale[here], counts)).astype(np.int32), BINS - 1)
        found.histogram[here] += _histogram(own, bins, last - first)
        found.total[here] += np.bincount(own, weights=some.values, minlength=last - first)
        _sample(some, found, np.repeat(limit[here], counts))
        _add_strongest(some, own, bins, found.strongest, kinds, most + SPARE)
    return found


class _Kinds:
    """A number for each sequence of a run, which is the same where texts are."""

    def __init__(self, entries: EntriesByFeature) -> None:
        ids, digests = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 2), dtype=np.uint64)]
        for part in parts(entries.run, "sequences"):
            table = part_of(entries.run, "sequences", part, ["sequence_id", "text"])
            ids.append(table["sequence_id"].to_numpy())
            digests.append(digests_of(table["text"]))
        self._ids, self._codes = np.concatenate(ids), codes_of(np.concatenate(digests))
        self.all_differ = int(self._codes.max(initial=-1)) + 1 == len(self._codes)

    def of(self, sequences: Ints) -> Ints:
        """[n] the number of each sequence."""
        return self._codes[np.searchsorted(self._ids, sequences)] if len(self._ids) else sequences


def _histogram(own: Int32s, bins: Int32s, n: int) -> Ints:
    counts: Ints = np.bincount(own.astype(np.int64) * BINS + bins, minlength=n * BINS).reshape(n, BINS)
    return counts


def _sample(some: Entries, found: Tally, limit: npt.NDArray[np.float64]) -> None:
    """Pick tokens at random; `limit` [n] is the share of its feature's entries that is picked."""
    priority = priority_of(some.sequences, some.positions).astype(np.float64) / (1 << 53)
    at = np.flatnonzero(priority < limit)
    places = some.sequences[at], some.positions[at].astype(np.int64)
    bits, order = some.values[at].view(np.int32).astype(np.int64), priority[at].view(np.int64)
    found.sampled.append(first_sampled(some.features[at].astype(np.int64), *places, bits, order))


def first_sampled(features: Ints, sequences: Ints, positions: Ints, bits: Ints, order: Ints) -> tuple[Ints, ...]:
    """Of each feature those that come first at random, in the order of tokens as before."""
    by_chance = np.lexsort((order, features))
    ranked = features[by_chance]
    rank = np.arange(len(ranked)) - np.searchsorted(ranked, ranked, side="left")
    kept = np.sort(by_chance[rank < SAMPLED])
    return features[kept], sequences[kept], positions[kept], bits[kept], order[kept]


def _add_strongest(some: Entries, own: Int32s, bins: Int32s, strongest: Strongest, kinds: _Kinds, most: int) -> None:
    """Add the best token of each sequence, the first where several are equal, as far as it can be among the `most`.

    A bin holds what is stronger than all that is in the bins below it: what lies below those that hold `most` kinds of
    sequences cannot be.
    """
    begins = np.flatnonzero(
        np.concatenate(
            [[True], (some.features[1:] != some.features[:-1]) | (some.sequences[1:] != some.sequences[:-1])]
        )
    )
    lengths = np.diff(np.append(begins, len(own)))
    best = np.maximum.reduceat(some.values, begins)
    at = np.arange(len(own), dtype=np.int64)
    at[some.values != np.repeat(best, lengths)] = len(own)
    at = np.minimum.reduceat(at, begins)
    owner, bin_of = own[at], bins[at]
    n = int(own[-1]) + 1
    above = np.cumsum(_histogram(owner, bin_of, n)[:, ::-1], axis=1)
    lowest = BINS - 1 - np.minimum((above < most).sum(1), BINS - 1)
    chosen = bin_of >= lowest[owner]
    if not kinds.all_differ:
        kept = np.unique(owner[chosen].astype(np.int64) << 40 | kinds.of(some.sequences[at[chosen]]))
        chosen |= (np.bincount(kept >> 40, minlength=n) < most)[owner]
    at = at[chosen]
    sequences, positions = some.sequences[at], some.positions[at].astype(np.int64)
    strongest.add(some.features[at], some.values[at], sequences, positions, kinds.of(sequences))
