"""Stage 5, reduce, with SAEs: find the largest features of each kept position.

1. Activations are encoded on the model's device in chunks of tokens. So the matrix of all features exists for a few
   tokens only, and never in the host's memory, whatever the SAE's width.
2. The active features of a chunk are sorted by activation and, where equal, by id, and cut to `top_k`.
3. Meanwhile the SAE's health on this data is counted: how many features fire, and how well they explain the input.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.kernels import fast_products
from actkit.backends.saes.sae import Active, Sae, active_of
from actkit.backends.tensors import to_device, to_host
from actkit.errors import ModelError, NonFiniteError
from actkit.pipeline.data import Kept, Ragged
from actkit.pipeline.reducers.activations import KEYS, Reducer, TableSize
from actkit.pipeline.reducers.sae_health import Health, levels_of
from actkit.runs.writer import Groups
from actkit.schemas import arrow_schema

KEPT_BYTES = 2048
"""About the bytes that a token's features, ids, spans and texts take, copies included, until its shard is written.
`shard_mb` goes by them where no vectors are stored."""
CHUNK_ELEMENTS, CHUNK_ELEMENTS_CUDA = 1 << 24, 1 << 26
"""Tokens × features encoded at once: 64 MB in float32; 256 MB on CUDA, which small products leave idle. `encode` holds
three such matrices. An SAE that finds active features without `encode` holds one of twice the size."""


PER_FEATURE = 6.0
"""Bytes of an id and an activation under zstd, which hardly compresses the activations; 5.6 were measured."""


def features_stored(saes: Sequence[Sae], top_k: int | None) -> TableSize:
    """Return the size of `features` with at most `top_k` a position; without `top_k` its bytes are unknown."""
    per_row = None if top_k is None else top_k * PER_FEATURE + KEYS
    return TableSize("position", len(saes), per_row and len(saes) * per_row, at_most=True)


def encoded(kept: Kept, sae: Sae, health: Health) -> Iterator[tuple[int, int, Active]]:
    """Encode all kept positions in chunks; yield each chunk's first row, its length and its active features.

    Counts them into `health`. Raises ModelError where the hook point's vectors are not as wide as the SAE's input, and
    NonFiniteError for a feature that is NaN or infinite.
    """
    x = kept.activations[str(sae.hook_point)]
    if isinstance(x, Ragged) or x.shape[1] != sae.d_in:
        width = "vectors of unequal length" if isinstance(x, Ragged) else str(x.shape[1])
        raise ModelError(
            f"{sae.name} reads {sae.d_in} numbers, but {sae.hook_point} has {width}", "choose its own model"
        )
    health.counts.n_sequences += len(np.unique(kept.sequence_ids[kept.plain]))
    health.counts.longest = max(health.counts.longest, int(kept.positions.max(initial=-1)) + 1)
    levels = levels_of(kept.sequence_ids if kept.contents is None else kept.contents, kept.positions)
    most = CHUNK_ELEMENTS_CUDA if x.is_cuda else CHUNK_ELEMENTS if sae.active is None else 2 * CHUNK_ELEMENTS
    chunk = max(most // sae.d_sae, 1)
    for start in range(0, len(x), chunk):
        with torch.inference_mode(), fast_products():
            part = x[start : start + chunk]
            active = sae.active(part) if sae.active is not None else None
            if active is None:
                features = sae.encode(part)
                _check(features, kept, sae, start)
                active = active_of(features)
            plain = to_device(torch.from_numpy(kept.plain[start : start + chunk]), x.device)
            own_levels = to_device(torch.from_numpy(levels[start : start + chunk]), x.device)
            health.count(part, active, plain, own_levels)
            yield start, len(part), active


def top_features(saes: Sequence[Sae], top_k: int | None, threshold: float, health: Mapping[str, Health]) -> Reducer:
    """Return the reducer that keeps at most `top_k` features above `threshold` of each position; None keeps all."""

    def reduce(kept: Kept) -> Groups:
        return {sae.name: _rows(kept, sae, top_k, threshold, health[sae.name]) for sae in saes}

    return reduce


def _rows(kept: Kept, sae: Sae, top_k: int | None, threshold: float, health: Health) -> pa.Table:
    found = [
        [to_host(tensor) for tensor in _largest(part, n, top_k, threshold)] for _, n, part in encoded(kept, sae, health)
    ]
    ids, values, lengths, active = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    columns = [
        pa.array(kept.sequence_ids),
        pa.array(kept.positions),
        pa.repeat(sae.name, len(kept.positions)),
        pa.ListArray.from_arrays(offsets, pa.array(ids.astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(values)),
        pa.array(active.astype(np.int32)),
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema("features"))


def _largest(
    active: Active, n: int, top_k: int | None, threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the kept ids and values, row after row, and for each of the n rows the numbers kept and active."""
    n_active = torch.bincount(active.rows, minlength=n)
    rows, ids, values = active.rows, active.ids, active.values
    if threshold > 0:
        above = values > threshold
        rows, ids, values = rows[above], ids[above], values[above]
    # Two stable sorts: by value, largest first, then by row. Equal values keep the order by id in which they come.
    order = torch.sort(values, descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rows, ids, values = rows[order], ids[order], values[order]
    lengths = torch.bincount(rows, minlength=n)
    if top_k is not None and int(lengths.max()) > top_k:
        first = torch.cumsum(lengths, 0) - lengths
        rank = torch.arange(len(rows), device=rows.device) - first[rows]
        kept = rank < top_k
        ids, values, lengths = ids[kept], values[kept], lengths.clamp(max=top_k)
    return ids, values, lengths, n_active


def _check(features: torch.Tensor, kept: Kept, sae: Sae, start: int) -> None:
    # One pass and no copy in the usual case: a NaN or an infinity shows in the sum.
    if bool(torch.isfinite(features.sum())) or bool(torch.isfinite(features).all()):
        return
    row = start + int((~torch.isfinite(features)).any(1).nonzero()[0])
    raise NonFiniteError(
        f"{sae.name} computed a feature that is no number at position {kept.positions[row]}",
        "the SAE or the model's dtype may not fit; try --dtype float32",
        int(kept.sequence_ids[row]),
        int(kept.positions[row]),
    )
