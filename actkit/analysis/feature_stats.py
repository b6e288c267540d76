"""The table `feature_stats`: what each SAE feature does over a finished run, and where it can be seen."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array

from actkit.analysis.context_file import ContextFile
from actkit.analysis.contexts import Windows, context_lists, stable_order
from actkit.analysis.entries_by_feature import EntriesByFeature
from actkit.analysis.feature_tally import BINS, SAMPLED, SPARE, Tally, first_sampled, tally
from actkit.runs.reader import Ints
from actkit.schemas import arrow_schema
from actkit.schemas.of_features import CO_ACTIVE, CONTEXTS

CONTEXTS_KEPT = 20
QUANTILES = 5
CO_KEPT, CO_FEWEST = 8, 10
"""Features listed as active together with one, which must be on so many of the tokens that are looked at."""
CONTEXT_BYTES = 140
"""About what the text around a token takes in a temporary file, where a character is a byte."""
BLOCK = 8192
"""Features in one part of the table: their contexts' texts are in memory together."""


def feature_stats(
    run: Path,
    sae: str,
    d_sae: int,
    url: Callable[[int], str | None] = lambda _feature: None,
    scratch: Path | None = None,
) -> Iterator[pa.Table]:
    """The table `feature_stats` of one SAE, block by block: every feature has a row, the silent ones too.

    Special tokens and sinks are left out. Counts and sums are exact in float64. Contexts are the 20 strongest tokens,
    no two of one sequence or of equal text. Temporary files are in `scratch`, by default the system's folder for them.

    Errors: see `EntriesByFeature`.
    """
    with EntriesByFeature(run, sae, d_sae, Path(tempfile.gettempdir()) if scratch is None else scratch) as entries:
        yield from stats_of(entries, url)


def stats_of(entries: EntriesByFeature, url: Callable[[int], str | None] = lambda _feature: None) -> Iterator[pa.Table]:
    """The same of entries that are in order already."""
    found, active, d_sae = tally(entries, CONTEXTS_KEPT), entries.active, entries.d_sae
    strong, shown = _strong_tokens(found), _sampled_tokens(found)
    together = _together(*entries.at_random.chosen(), d_sae)
    every = [np.concatenate([best, other]) for best, other in zip(strong, shown, strict=True)]
    order = np.argsort(every[0] // BLOCK, kind="stable")
    features, sequences, positions, bits = (array[order] for array in every)
    with ContextFile(entries.run, sequences, positions, features // BLOCK, entries.scratch) as texts:
        for number, first in enumerate(range(0, d_sae, BLOCK)):
            block = np.arange(first, min(first + BLOCK, d_sae))
            fired = active[block] > 0
            of_block = texts.block(number)
            here = np.flatnonzero(features // BLOCK == number)
            rows = _Rows(features[here], sequences[here], positions[here], bits[here], of_block)
            n_strong = int((strong[0] // BLOCK == number).sum())
            own = np.arange(len(here))
            counts = pa.FixedSizeListArray.from_arrays(pa.array(found.histogram[block].reshape(-1)), BINS)
            columns = {
                "sae": [entries.sae] * len(block),
                "feature_id": pa.array(block.astype(np.int32)),
                "n_active": pa.array(active[block]),
                "density": pa.array(active[block] / max(entries.at_random.n_tokens, 1)),
                "mean": pa.array(found.total[block] / np.maximum(active[block], 1), mask=~fired),
                "max": pa.array(entries.largest[block].astype(np.float64), mask=~fired),
                "histogram": counts.cast(pa.list_(pa.int64())),
                "url": pa.array([url(int(feature)) for feature in block], type=pa.string()),
                "contexts": _contexts(rows.where(own[:n_strong]), block),
                "quantile_contexts": _quantiles(rows.where(own[n_strong:]), block),
                "co_active": pa.array([together.get(int(feature)) for feature in block], type=CO_ACTIVE),
            }
            yield pa.table(columns, schema=arrow_schema("feature_stats"))


def contexts_bytes(d_sae: int, n_entries: int) -> int:
    """The most that the texts around the tokens of so many features take in temporary files, about."""
    return min(d_sae * (CONTEXTS_KEPT + SPARE + SAMPLED), 2 * n_entries) * CONTEXT_BYTES


class _Rows:
    """Tokens with their texts, ascending by feature."""

    def __init__(self, features: Ints, sequences: Ints, positions: Ints, bits: Ints, texts: Windows) -> None:
        self.features, self.sequences, self.positions, self.bits = features, sequences, positions, bits
        self.texts = texts

    def where(self, some: Ints) -> "_Rows":
        """Some of the tokens."""
        texts = self.texts.taken(some)
        return _Rows(self.features[some], self.sequences[some], self.positions[some], self.bits[some], texts)

    def lists(self, ends: Ints) -> pa.Array:
        """Lists of contexts, each from one of `ends` to the next."""
        activations = self.bits.astype(np.int32).view(np.float32)
        return context_lists(ends, self.sequences, self.positions, activations, self.texts)


def _strong_tokens(found: Tally) -> tuple[Ints, ...]:
    """Feature, sequence, position and bits of the activation of the strongest tokens, by feature and strength."""
    activations = found.strongest.activations
    there = activations > 0
    features = np.repeat(np.arange(len(activations)), there.sum(1))
    bits = activations[there].view(np.int32).astype(np.int64)
    return features, found.strongest.sequence_ids[there], found.strongest.positions[there], bits


def _sampled_tokens(found: Tally) -> tuple[Ints, ...]:
    """The same of tokens at random, up to SAMPLED of each feature, weakest first."""
    if not found.sampled:
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(4))
    # Again over all: a feature of very many entries came in several ranges.
    every = first_sampled(*(np.concatenate(arrays) for arrays in zip(*found.sampled, strict=True)))
    features, sequences, positions, bits, _ = every
    order = stable_order(features << 32 | bits)
    return features[order], sequences[order], positions[order], bits[order]


def _contexts(rows: _Rows, block: Ints) -> pa.Array:
    """The strongest tokens of each feature of a block, no two of equal text."""
    codes, features = rows.texts.codes(), rows.features - block[0]
    _, first = np.unique(features * (int(codes.max(initial=0)) + 1) + codes, return_index=True)
    first.sort()
    rank = np.arange(len(first)) - np.searchsorted(features[first], features[first], side="left")
    kept = first[rank < CONTEXTS_KEPT]
    ends = np.searchsorted(features[kept], np.arange(len(block) + 1))
    return rows.where(kept).lists(ends)


def _quantiles(rows: _Rows, block: Ints) -> pa.Array:
    """Of each feature of a block QUANTILES lists of its tokens at random, from the weakest fifth to the strongest."""
    edges = np.searchsorted(rows.features, np.append(block, block[-1] + 1))
    parts = np.arange(QUANTILES)
    ends = edges[:-1, None] + np.diff(edges)[:, None] * parts // QUANTILES
    inner = rows.lists(np.append(ends.reshape(-1), edges[-1]))
    outer = pa.array((np.arange(len(block) + 1) * QUANTILES).astype(np.int32))
    return pa.ListArray.from_arrays(outer, inner).cast(pa.list_(CONTEXTS))


def _together(ids: npt.NDArray[np.int32], lengths: Ints, d_sae: int) -> dict[int, list[dict[str, Any]]]:
    """Feature → the features most often active where it is, over tokens at random that have so many of `ids` each."""
    if not len(lengths):
        return {}
    ends = np.concatenate([[0], np.cumsum(lengths)])
    tokens = csr_array((np.ones(len(ids), dtype=np.int32), ids, ends), shape=(len(lengths), d_sae))
    counts = np.bincount(ids, minlength=d_sae)
    known = np.flatnonzero(counts >= CO_FEWEST)
    rows: dict[int, list[dict[str, Any]]] = {}
    for first in range(0, len(known), 1024):
        some = known[first : first + 1024]
        pairs = (tokens[:, some].T @ tokens).tocsr()
        for number, feature in enumerate(some.tolist()):
            here = slice(pairs.indptr[number], pairs.indptr[number + 1])
            others, both = pairs.indices[here], pairs.data[here]
            best = np.lexsort((others, -both))[: CO_KEPT + 1]
            rows[feature] = [
                {
                    "feature_id": int(others[at]),
                    "share": float(both[at] / counts[feature]),
                    "lift": float(both[at] * len(lengths) / (counts[feature] * counts[others[at]])),
                }
                for at in best.tolist()
                if others[at] != feature
            ][:CO_KEPT]
    return rows
