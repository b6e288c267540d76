"""Stage 5, reduce, with SAEs: kept activations become the largest features of each position.

1. Activations are encoded on the model's device in chunks of tokens, so that the matrix of all features exists for a
   few tokens only and never in the host's memory, whatever the SAE's width.
2. What is active is taken out of a chunk, sorted by activation and, where equal, by id, and cut to `top_k`.
3. On the way the SAE's health on this data is counted: how many features fire, and how well they explain the input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.sae import Sae
from actkit.errors import ModelError, NonFiniteError
from actkit.pipeline.data import Kept, Ragged
from actkit.pipeline.reduce import Groups, Reducer
from actkit.schemas import arrow_schema

CHUNK_ELEMENTS = 1 << 24
"""Tokens × features encoded at once: 64 MB in float32."""
DENSE = 0.1
"""A feature that fires on more than this share of tokens is called dense."""


@dataclass
class Health:
    """How an SAE does on this data, special tokens left out: they are not what it was trained on."""

    sae: Sae
    n_tokens: int = 0
    n_active: int = 0
    longest: int = 0
    """Tokens before and with the last position read: how much context the SAE was given."""
    fired: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """[d_sae]: on how many tokens each feature fired."""
    error: float = 0.0
    """Sum of squared differences between input and reconstruction."""
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """[d_in] float64: sum of the inputs."""
    squares: float = 0.0
    """Sum of the inputs' squared norms."""

    def count(self, x: torch.Tensor, features: torch.Tensor) -> None:
        """Add tokens with input `x` [n, d_in] and encoding `features` [n, d_sae]."""
        if not len(x):
            return
        if not self.n_tokens:
            self.fired = torch.zeros(self.sae.d_sae, dtype=torch.int64)
            self.total = torch.zeros(self.sae.d_in, dtype=torch.float64)
        active = features > 0
        self.n_tokens += len(x)
        self.fired += active.sum(0).cpu()
        self.n_active += int(active.sum())
        exact = x.to(torch.float32)
        self.error += float((exact - self.sae.reconstruct(x, features)).double().square().sum())
        self.total += exact.double().sum(0).cpu()
        self.squares += float(exact.double().square().sum())

    def summary(self) -> Mapping[str, Any]:
        """L0, explained variance (1 - residual / variance around the mean), and shares of dead and dense features."""
        row: dict[str, Any] = {
            "sae": self.sae.name,
            "hook_point": str(self.sae.hook_point),
            "n_tokens": self.n_tokens,
            "longest_context": self.longest,
        }
        if self.n_tokens:
            variance = self.squares - float(self.total.square().sum()) / self.n_tokens
            row |= {
                "l0": self.n_active / self.n_tokens,
                "explained_variance": 1 - self.error / variance if variance > 0 else None,
                "dead_fraction": float((self.fired == 0).double().mean()),
                "dense_fraction": float((self.fired > DENSE * self.n_tokens).double().mean()),
            }
        return row


def top_features(saes: Sequence[Sae], top_k: int | None, threshold: float, health: Mapping[str, Health]) -> Reducer:
    """The reducer that keeps, of each position, at most `top_k` features above `threshold`; None keeps them all."""

    def reduce(kept: Kept) -> Groups:
        return {sae.name: _rows(kept, sae, top_k, threshold, health[sae.name]) for sae in saes}

    return reduce


def _rows(kept: Kept, sae: Sae, top_k: int | None, threshold: float, health: Health) -> pa.Table:
    x = kept.activations[str(sae.hook_point)]
    if isinstance(x, Ragged) or x.shape[1] != sae.d_in:
        width = "vectors of unequal length" if isinstance(x, Ragged) else str(x.shape[1])
        raise ModelError(
            f"{sae.name} reads {sae.d_in} numbers, but {sae.hook_point} has {width}", "choose its own model"
        )
    ids: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    lengths: list[torch.Tensor] = []
    active: list[torch.Tensor] = []
    chunk = max(CHUNK_ELEMENTS // sae.d_sae, 1)
    with torch.inference_mode():
        for start in range(0, len(x), chunk):
            part = x[start : start + chunk]
            features = sae.encode(part)
            _check(features, kept, sae, start)
            plain = torch.from_numpy(~kept.is_special[start : start + chunk]).to(x.device)
            health.count(part[plain], features[plain])
            found = _largest(features, top_k, threshold)
            for where, what in zip((ids, values, lengths, active), found, strict=True):
                where.append(what.cpu())
    n = len(x)
    health.longest = max(health.longest, int(kept.positions.max(initial=-1)) + 1)
    offsets = np.concatenate([[0], np.cumsum(torch.cat(lengths).numpy())]).astype(np.int32)
    columns = [
        pa.array(kept.sequence_ids),
        pa.array(kept.positions),
        pa.array([sae.name]).take(pa.array(np.zeros(n, dtype=np.int64))),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(torch.cat(ids).to(torch.int32).numpy())),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(torch.cat(values).numpy())),
        pa.array(torch.cat(active).to(torch.int32).numpy()),
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema("features"))


def _largest(
    features: torch.Tensor, top_k: int | None, threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and values of what is kept, row after row; how many a row; and how many are active (above zero) a row."""
    n_active = (features > 0).sum(1)
    rows, ids = (features > max(threshold, 0.0)).nonzero(as_tuple=True)
    values = features[rows, ids]
    # Two stable sorts: by value, largest first, then by row. What comes in by id stays so where values are equal.
    order = torch.sort(values, descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rows, ids, values = rows[order], ids[order], values[order]
    lengths = torch.bincount(rows, minlength=len(features))
    if top_k is not None:
        first = torch.cumsum(lengths, 0) - lengths
        rank = torch.arange(len(rows), device=rows.device) - first[rows]
        kept = rank < top_k
        ids, values, lengths = ids[kept], values[kept], lengths.clamp(max=top_k)
    return ids, values, lengths, n_active


def _check(features: torch.Tensor, kept: Kept, sae: Sae, start: int) -> None:
    if bool(torch.isfinite(features).all()):
        return
    row = start + int((~torch.isfinite(features)).any(1).nonzero()[0])
    raise NonFiniteError(
        f"{sae.name} computed a feature that is no number at position {kept.positions[row]}",
        "the SAE or the model's dtype may not fit; try --dtype float32",
        int(kept.sequence_ids[row]),
    )
