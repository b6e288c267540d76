"""Stage 5, reduce, for whole texts: make one row of the kept positions of each sequence.

One batch holds a whole sequence, so that nothing is carried from batch to batch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.config import Pool
from actkit.errors import ModelError, NonFiniteError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Bools, Ints, Kept, Ragged
from actkit.pipeline.reducers.activations import KEYS, Reducer, TableSize, way_out
from actkit.pipeline.reducers.features import encoded
from actkit.pipeline.reducers.sae_health import Health
from actkit.runs.writer import Groups
from actkit.schemas import arrow_schema

Floats = npt.NDArray[np.float64]


def pooled_stored(saes: Sequence[Sae]) -> dict[str, TableSize]:
    """Return the sizes of `pooled_features` (bytes unknown: they depend on what fires) and `pooled_activations`."""
    widths = {sae.hook_point: sae.d_in for sae in saes}
    return {
        "pooled_features": TableSize("sequence", len(saes)),
        "pooled_activations": TableSize("sequence", len(widths), sum(width * 4.0 + KEYS for width in widths.values())),
    }


def pooled_features(saes: Sequence[Sae], pool: Pool, health: Mapping[str, Health], special: bool = False) -> Reducer:
    """Return the reducer that makes one row of each sequence and SAE, over the kept positions.

    A row holds each feature's maximum, mean, sum, or value at the last position. Special tokens and sinks are left out
    unless `special` is set.
    """

    def reduce(kept: Kept) -> Groups:
        return {sae.name: _features(kept, sae, pool, health[sae.name], special) for sae in saes}

    return reduce


def pooled_activations(hook_points: Sequence[HookPoint], pool: Pool, special: bool = False) -> Reducer:
    """Return the reducer that makes one row of each sequence and hook point: the mean vector, or for `last` the last.

    Special tokens: see `pooled_features`. Raises NonFiniteError for a vector with a NaN or an infinity.
    """

    def reduce(kept: Kept) -> Groups:
        return {str(point): _activations(kept, point, pool, special) for point in hook_points}

    return reduce


def _read(kept: Kept, pool: Pool, special: bool) -> tuple[Ints, Ints, Bools]:
    """Return the sequence ids, for each row the index of its sequence, and whether each row is read."""
    sequences, owner = np.unique(kept.sequence_ids, return_inverse=True)
    read = np.ones(len(owner), dtype=np.bool_) if special else kept.plain
    if pool == "last":
        last = np.full(len(sequences), -1, dtype=np.int64)
        np.maximum.at(last, owner[read], kept.positions[read])
        read = read & (kept.positions == last[owner])
    return sequences, owner, read


def _features(kept: Kept, sae: Sae, pool: Pool, health: Health, special: bool) -> pa.Table:
    sequences, owner, read = _read(kept, pool, special)
    parts = []
    for start, _, active in encoded(kept, sae, health):
        where, ids = active.rows.cpu().numpy() + start, active.ids.cpu().numpy()
        values = active.values.cpu().numpy().astype(np.float64)
        where, ids, values = (array[read[where]] for array in (where, ids, values))
        parts.append((owner[where] * sae.d_sae + ids, values, values, kept.positions[where]))
    keys, sums, largest, positions = _joined(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    counts = np.maximum(np.bincount(owner[read], minlength=len(sequences)), 1)
    values = {"mean": sums / counts[keys // sae.d_sae], "sum": sums}.get(pool, largest).astype(np.float32)
    order = np.lexsort((keys, -values, keys // sae.d_sae))
    lengths = np.bincount(keys // sae.d_sae, minlength=len(sequences))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    columns = [
        pa.array(sequences),
        pa.repeat(sae.name, len(sequences)),
        pa.ListArray.from_arrays(offsets, pa.array((keys % sae.d_sae)[order].astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(values[order])),
        pa.ListArray.from_arrays(offsets, pa.array(positions[order].astype(np.int32))),
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema("pooled_features"))


def _joined(keys: Ints, sums: Floats, largest: Floats, positions: Ints) -> tuple[Ints, Floats, Floats, Ints]:
    """Reduce the entries of each key to one: the sum, the largest value, and its first position."""
    order = np.lexsort((positions, -largest, keys))
    keys, sums, largest, positions = keys[order], sums[order], largest[order], positions[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    totals = np.add.reduceat(sums, first) if len(first) else sums
    return keys[first], totals, largest[first], positions[first]


def _activations(kept: Kept, point: HookPoint, pool: Pool, special: bool) -> pa.Table:
    x = kept.activations[str(point)]
    if isinstance(x, Ragged):
        raise ModelError(f"{point} has vectors of unequal length, which have no mean", "choose another hook point")
    sequences, owner, read = _read(kept, pool, special)
    where, index = torch.from_numpy(np.flatnonzero(read)).to(x.device), torch.from_numpy(owner[read]).to(x.device)
    total = torch.zeros((len(sequences), x.shape[1]), dtype=torch.float64, device=x.device)
    total.index_add_(0, index, x[where].to(torch.float64))
    counts = np.maximum(np.bincount(owner[read], minlength=len(sequences)), 1)
    mean = (total.cpu().numpy() / counts[:, None]).astype(np.float32)
    if not np.isfinite(mean).all():
        row = int(np.flatnonzero(~np.isfinite(mean).all(1))[0])
        raise NonFiniteError(
            f"the model computed something that is no number at {point}",
            way_out(x.dtype),
            int(sequences[row]),
        )
    flat, ends = pa.array(mean.reshape(-1)), pa.array(np.arange(len(mean) + 1, dtype=np.int32) * mean.shape[1])
    columns = [
        pa.array(sequences),
        pa.repeat(pa.scalar(point.layer, pa.int32()), len(sequences)),
        pa.repeat(str(point), len(sequences)),
        pa.ListArray.from_arrays(ends, flat),
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema("pooled_activations"))
