"""What is counted of each SAE feature over a run's `features`, in two passes; memory does not grow with the tokens.

1. Read the table part by part: counts, sums, maxima, the strongest tokens. What was read goes into a temporary file,
   since to decode it from Parquet takes most of the time.
2. Read the file: histograms between 0 and the maximum; tokens at random, each feature's own and some of all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from actkit.analysis.contexts import Strongest
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Ints, keys_of, part_of, parts, sae_groups, special_keys

BINS = 40
SAMPLED = 25
"""Tokens of each feature that are shown by how strong they are."""
PICKED = 1.8
"""Times as many are picked at random at first: fewer than SAMPLED by a chance of 1 in 1,000."""
CO_TOKENS, CO_PAIRS = 1 << 14, 2e7
"""Tokens of which it is counted what is active together, and the most pairs of active features in them."""
SPARE = 10
"""Strongest tokens beyond those shown, for those whose text is the same."""
Floats = npt.NDArray[np.float32]


@dataclass
class Chunk:
    """The active features of some tokens."""

    ids: npt.NDArray[np.int32]
    values: Floats
    lengths: Ints
    sequences: Ints
    positions: Ints
    """[n_tokens] each: active features, and where the token is."""

    @property
    def priority(self) -> npt.NDArray[np.float64]:
        """[n_tokens] numbers between 0 and 1 that are as good as random, and the same in every run."""
        x = keys_of(self.sequences, self.positions).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        # The finaliser of splitmix64 (Steele, Lea & Flood 2014).
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: npt.NDArray[np.float64] = (x >> np.uint64(11)).astype(np.float64) / (1 << 53)
        return found


@dataclass
class Tally:
    """What was counted of `d_sae` features."""

    active: Ints
    total: npt.NDArray[np.float64]
    histogram: Ints
    """[d_sae, BINS]."""
    strongest: Strongest
    n_tokens: int = 0
    sampled: list[tuple[Ints, ...]] = field(default_factory=list)
    """Feature, sequence, position and bits of the activation of tokens at random, by feature and activation."""
    together: list[npt.NDArray[np.int32]] = field(default_factory=list)
    """The active features of tokens at random."""


def tally(run: Path, sae: str, d_sae: int, most: int, scratch: Path) -> Tally:
    """Count one SAE's features; `most` strongest tokens are shown. Raises WriteError for a full disk."""
    found = Tally(
        np.zeros(d_sae, dtype=np.int64),
        np.zeros(d_sae),
        np.zeros((d_sae, BINS), dtype=np.int64),
        Strongest(d_sae, most + SPARE),
    )
    kinds = _kinds(run)
    with Spill(scratch) as file:
        kept = [_put(file, _counted(chunk, found, kinds)) for chunk in _chunks(run, sae)]
        scale = BINS / np.where(found.active > 0, found.strongest.activations[:, 0], 1).astype(np.float64)
        limit = PICKED * SAMPLED / np.maximum(found.active, 1)
        share = _co_share(found)
        for sizes in kept:
            _look_again(_take(file, *sizes), found, scale, limit, share)
    return found


def _chunks(run: Path, sae: str) -> Iterator[Chunk]:
    """The tokens that are neither special nor sinks, part by part."""
    for part in parts(run, "features"):
        special = special_keys(run, part)
        for table in sae_groups(part, sae, ["sequence_id", "position", "feature_ids", "feature_activations"]):
            sequences, positions = table["sequence_id"].to_numpy(), table["position"].to_numpy()
            lengths = pc.list_value_length(table["feature_ids"]).to_numpy().astype(np.int64)
            ids = pc.list_flatten(table["feature_ids"]).to_numpy()
            values = pc.list_flatten(table["feature_activations"]).to_numpy()
            own = ~np.isin(keys_of(sequences, positions), special)
            if not own.all():
                entries = np.repeat(own, lengths)
                ids, values, lengths = ids[entries], values[entries], lengths[own]
                sequences, positions = sequences[own], positions[own]
            yield Chunk(ids, values, lengths, sequences, positions)


def _kinds(run: Path) -> tuple[Ints, Ints]:
    """The run's sequences, ascending, and a number for each that is the same where their texts are."""
    ids, digests = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 2), dtype=np.uint64)]
    for part in parts(run, "sequences"):
        table = part_of(run, "sequences", part, ["sequence_id", "text"])
        ids.append(table["sequence_id"].to_numpy())
        digests.append(digests_of(table["text"]))
    return np.concatenate(ids), codes_of(np.concatenate(digests))


def _counted(chunk: Chunk, found: Tally, kinds: tuple[Ints, Ints]) -> Chunk:
    d_sae = len(found.active)
    found.n_tokens += len(chunk.lengths)
    found.active += np.bincount(chunk.ids, minlength=d_sae)
    found.total += np.bincount(chunk.ids, weights=chunk.values, minlength=d_sae)
    token = np.repeat(np.arange(len(chunk.lengths), dtype=np.int32), chunk.lengths)
    kind = kinds[1][np.searchsorted(kinds[0], chunk.sequences)] if len(kinds[0]) else chunk.sequences
    found.strongest.add(chunk.ids, chunk.values, chunk.sequences, chunk.positions, kind, token)
    return chunk


def _put(file: Spill, chunk: Chunk) -> tuple[int, int, int]:
    begin = file.write(chunk.ids)
    for one in (chunk.values, chunk.lengths, chunk.sequences, chunk.positions):
        file.write(one)
    return begin, len(chunk.ids), len(chunk.lengths)


def _take(file: Spill, begin: int, n: int, n_tokens: int) -> Chunk:
    ids, values = file.read(begin, n, np.int32), file.read(begin + 4 * n, n, np.float32)
    rest = (file.read(begin + 8 * n + 8 * n_tokens * number, n_tokens, np.int64) for number in range(3))
    return Chunk(ids, values, *rest)


def _co_share(found: Tally) -> float:
    """The share of tokens of which it is counted what is active together."""
    per_token = found.active.sum() / max(found.n_tokens, 1)
    return float(min(CO_TOKENS, CO_PAIRS / max(per_token, 1) ** 2) / max(found.n_tokens, 1))


def _look_again(
    chunk: Chunk, found: Tally, scale: npt.NDArray[np.float64], limit: npt.NDArray[np.float64], share: float
) -> None:
    ids, d_sae = chunk.ids, len(found.active)
    bins = np.minimum((chunk.values * scale[ids]).astype(np.int64), BINS - 1)
    found.histogram += np.bincount(ids.astype(np.int64) * BINS + bins, minlength=d_sae * BINS).reshape(d_sae, BINS)
    priority = chunk.priority
    of_entry = np.repeat(priority, chunk.lengths)
    picked = np.flatnonzero(of_entry < limit[ids])
    token = np.searchsorted(np.cumsum(chunk.lengths), picked, side="right")
    bits = chunk.values[picked].view(np.int32).astype(np.int64)
    order = priority[token].view(np.int64)
    places = chunk.sequences[token], chunk.positions[token]
    found.sampled.append((ids[picked].astype(np.int64), *places, bits, order))
    ends = np.cumsum(chunk.lengths)
    for row in np.flatnonzero(priority < share).tolist():
        # A copy: a view would keep all that was read in memory.
        found.together.append(ids[ends[row] - chunk.lengths[row] : ends[row]].copy())
