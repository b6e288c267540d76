"""Statistics of each SAE feature over a finished run's `features`, read part by part: memory does not grow with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.contexts import Strongest, contexts_of
from actkit.runs.reader import keys_of, parts, sae_groups, special_keys
from actkit.schemas import arrow_schema

CONTEXTS_KEPT = 20
BLOCK = 8192
"""Features in one part of the table: their contexts' texts are in memory together."""


def feature_stats(
    run: Path, sae: str, d_sae: int, url: Callable[[int], str | None] = lambda _feature: None
) -> Iterator[pa.Table]:
    """The table `feature_stats` of one SAE, block by block: every feature has a row, the silent ones too.

    Special tokens are left out. Counts and sums are exact in float64; contexts are the 20 strongest tokens, no two of
    one sequence.
    """
    active, total = np.zeros(d_sae, dtype=np.int64), np.zeros(d_sae, dtype=np.float64)
    strongest = Strongest(d_sae, CONTEXTS_KEPT)
    n_tokens = 0
    for part in parts(run, "features"):
        special = special_keys(run, part)
        for table in sae_groups(part, sae):
            keys = keys_of(table["sequence_id"].to_numpy(), table["position"].to_numpy())
            table = table.filter(pa.array(~np.isin(keys, special)))
            n_tokens += len(table)
            lengths = pc.list_value_length(table["feature_ids"]).to_numpy()
            ids = pc.list_flatten(table["feature_ids"]).to_numpy().astype(np.int64)
            values = pc.list_flatten(table["feature_activations"]).to_numpy()
            active += np.bincount(ids, minlength=d_sae)
            total += np.bincount(ids, weights=values, minlength=d_sae)
            sequences, positions = (np.repeat(table[name].to_numpy(), lengths) for name in ("sequence_id", "position"))
            strongest.add(ids, values, sequences, positions)
    for first in range(0, d_sae, BLOCK):
        block = np.arange(first, min(first + BLOCK, d_sae))
        fired = active[block] > 0
        columns = {
            "sae": [sae] * len(block),
            "feature_id": pa.array(block.astype(np.int32)),
            "n_active": pa.array(active[block]),
            "density": pa.array(active[block] / max(n_tokens, 1)),
            "mean": pa.array(total[block] / np.maximum(active[block], 1), mask=~fired),
            "max": pa.array(strongest.activations[block, 0].astype(np.float64), mask=~fired),
            "url": pa.array([url(int(one)) for one in block], type=pa.string()),
            "contexts": contexts_of(run, strongest, block.tolist()),
        }
        yield pa.table(columns, schema=arrow_schema("feature_stats"))
