"""The table `feature_stats`: counts, activations, contexts and a URL of each SAE feature over a finished run."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.analysis.co_active import co_active
from actkit.analysis.contexts import ContextFile, context_lists, rank_within, stable_order
from actkit.analysis.entries_by_feature import EntriesByFeature
from actkit.analysis.feature_tally import BINS, SAMPLED, SPARE, Tally, tally
from actkit.analysis.windows import Windows
from actkit.runs.reader import Ints
from actkit.schemas import arrow_schema
from actkit.schemas.of_features import CONTEXTS

CONTEXTS_KEPT = 20
QUANTILES = 5
CONTEXT_BYTES = 140
"""About the bytes of the text around a token in a temporary file, where a character is a byte."""
BLOCK = 8192
"""Features in one part of the table: their contexts' texts are in memory together."""


def feature_stats(
    run: Path,
    sae: str,
    d_sae: int,
    url: Callable[[int], str | None] = lambda _feature: None,
    scratch: Path | None = None,
) -> Iterator[pa.Table]:
    """Yield the table `feature_stats` of one SAE, block by block: every feature has a row, the silent ones too.

    Special tokens and sinks are left out. Counts and sums are exact in float64. Contexts are the 20 strongest tokens,
    no two of one sequence or of equal text. Temporary files are in `scratch`, by default the system's folder for them.

    Errors: see `EntriesByFeature`.
    """
    folder = Path(tempfile.gettempdir()) if scratch is None else scratch
    with closing(EntriesByFeature(run, sae, d_sae, folder)) as entries:
        yield from stats_of(entries, url)


def stats_of(entries: EntriesByFeature, url: Callable[[int], str | None] = lambda _feature: None) -> Iterator[pa.Table]:
    """Yield the table `feature_stats` of entries that are sorted already."""
    found, active, d_sae = tally(entries, CONTEXTS_KEPT), entries.active, entries.d_sae
    together = co_active(*entries.at_random.chosen(), d_sae)
    both = _strong_tokens(found), _sampled_tokens(found)
    # Each block of features has its strongest tokens first, then its random ones.
    groups = np.concatenate([tokens.features // BLOCK * 2 + number for number, tokens in enumerate(both)])
    every = _Tokens(*(np.concatenate(arrays) for arrays in zip(*(tokens.arrays() for tokens in both), strict=True)))
    order = np.argsort(groups, kind="stable")
    every, groups = every.where(order), groups[order]
    with closing(ContextFile(entries.run, every.sequences, every.positions, groups, entries.scratch)) as texts:
        for number, first in enumerate(range(0, d_sae, BLOCK)):
            block = np.arange(first, min(first + BLOCK, d_sae))
            fired = active[block] > 0
            strong, shown = (
                (every.where(np.flatnonzero(groups == group)), texts.block(group))
                for group in (2 * number, 2 * number + 1)
            )
            counts = pa.FixedSizeListArray.from_arrays(pa.array(found.histogram[block].reshape(-1)), BINS)
            columns = {
                "sae": [entries.sae] * len(block),
                "feature_id": pa.array(block.astype(np.int32)),
                "n_active": pa.array(active[block]),
                "density": pa.array(active[block] / max(entries.at_random.n_tokens, 1)),
                "mean": pa.array(entries.total[block] / np.maximum(active[block], 1), mask=~fired),
                "max": pa.array(entries.largest[block].astype(np.float64), mask=~fired),
                "histogram": counts.cast(pa.list_(pa.int64())),
                "url": pa.array([url(int(feature)) for feature in block], type=pa.string()),
                "contexts": _contexts(*strong, block),
                "quantile_contexts": _quantiles(*shown, block),
                "co_active": together.slice(first, len(block)),
            }
            yield pa.table(columns, schema=arrow_schema("feature_stats"))


def contexts_bytes(d_sae: int, n_entries: int) -> int:
    """Return about the most bytes that the texts around tokens of `d_sae` features take in temporary files."""
    return min(d_sae * (CONTEXTS_KEPT + SPARE + SAMPLED), 2 * n_entries) * CONTEXT_BYTES


@dataclass(frozen=True)
class _Tokens:
    """Tokens [n], ascending by feature."""

    features: Ints
    sequences: Ints
    positions: Ints
    bits: Ints
    """Bits of the activation, whose order they have."""

    def arrays(self) -> tuple[Ints, ...]:
        """All four arrays."""
        return self.features, self.sequences, self.positions, self.bits

    def where(self, some: Ints) -> "_Tokens":
        """Some of the tokens."""
        return _Tokens(*(array[some] for array in self.arrays()))

    def lists(self, ends: Ints, texts: Windows) -> pa.Array:
        """Lists of contexts, each from one of `ends` to the next."""
        activations = self.bits.astype(np.int32).view(np.float32)
        return context_lists(ends, self.sequences, self.positions, activations, texts)


def _strong_tokens(found: Tally) -> _Tokens:
    """The strongest tokens, by feature and strength."""
    activations = found.strongest.activations
    there = activations > 0
    features = np.repeat(np.arange(len(activations)), there.sum(1))
    bits = activations[there].view(np.int32).astype(np.int64)
    return _Tokens(features, found.strongest.sequence_ids[there], found.strongest.positions[there], bits)


def _sampled_tokens(found: Tally) -> _Tokens:
    """Random tokens, up to SAMPLED of each feature, weakest first."""
    features, sequences, positions, bits = found.sampled
    order = stable_order(features << 32 | bits)
    return _Tokens(features[order], sequences[order], positions[order], bits[order])


def _contexts(tokens: _Tokens, texts: Windows, block: Ints) -> pa.Array:
    """The strongest tokens of each feature of a block, no two of equal text."""
    features = tokens.features - block[0]
    first = np.flatnonzero(~texts.is_repeated(features))
    kept = first[rank_within(features[first]) < CONTEXTS_KEPT]
    ends = np.searchsorted(features[kept], np.arange(len(block) + 1))
    return tokens.where(kept).lists(ends, texts.taken(kept))


def _quantiles(tokens: _Tokens, texts: Windows, block: Ints) -> pa.Array:
    """QUANTILES lists of random tokens for each feature of a block, from the weakest fifth to the strongest."""
    edges = np.searchsorted(tokens.features, np.append(block, block[-1] + 1))
    parts = np.arange(QUANTILES)
    ends = edges[:-1, None] + np.diff(edges)[:, None] * parts // QUANTILES
    inner = tokens.lists(np.append(ends.reshape(-1), edges[-1]), texts)
    outer = pa.array((np.arange(len(block) + 1) * QUANTILES).astype(np.int32))
    return pa.ListArray.from_arrays(outer, inner).cast(pa.list_(CONTEXTS))
