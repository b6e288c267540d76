"""Draw random tokens, the same in every run, and keep their active features, for counts of features active together."""

import numpy as np
import numpy.typing as npt

from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Ints, keys_of

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
    """The features of some tokens, which wait in a temporary file: how many it will be is known at the end.

    Kept is at first what may be chosen whatever is still to come; that is fewer and fewer.
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
        """Add tokens [n] and their features, one token's after another's; those that are not `own` do not count."""
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
        """The features of the tokens that are looked at, one token's after another's, and how many each has."""
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
