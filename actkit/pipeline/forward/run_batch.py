"""Stage 4, forward: run batches, and keep the read positions of each hook point's tensor."""

from collections.abc import Sequence

import numpy as np
import torch

from actkit.backends import Model
from actkit.backends.last_block import only_read
from actkit.backends.tensors import to_device
from actkit.hooks import HookPoint
from actkit.pipeline.data import Batch, Kept, Ragged

BY_KEY = ("attn.hook_pattern", "attn.hook_attn_scores")
"""Hook points whose tensors have a value for each head and key: [batch, head, query, key]."""


def forward(model: Model, batch: Batch, hook_points: Sequence[HookPoint]) -> Kept:
    """Run a batch and return the kept positions' activations at `hook_points`, on the model's device.

    Each hook gathers the kept positions, so that no more than one layer's full tensor is in memory at a time.
    """
    gathered: dict[str, torch.Tensor | Ragged] = {}
    device = model.description.spec.device
    rows, columns = to_device(batch.rows, device), to_device(batch.columns, device)

    def tap(point: HookPoint, tensor: torch.Tensor) -> None:
        if point.name in BY_KEY:
            gathered[str(point)] = _ragged(tensor[rows, :, columns], batch.kept_positions)
        else:
            # Heads, where the tensor has them, are laid side by side: [n, n_heads * d_head].
            gathered[str(point)] = tensor[rows, columns].flatten(1)

    taps = {str(point): (lambda tensor, point=point: tap(point, tensor)) for point in hook_points}
    with only_read(model, hook_points, batch.rows, batch.columns, batch.input_ids.shape):
        model.run(batch.input_ids, batch.positions, batch.tree, taps)
    found = {name: gathered[name] for name in taps}
    return Kept(batch.sequence_ids, batch.kept_positions, batch.is_special, found, batch.contents)


def _ragged(rows: torch.Tensor, positions: "np.typing.NDArray[np.int64]") -> Ragged:
    """From [n, head, key] take, for position p, the p + 1 keys that it attends to, head by head: n_heads × (p + 1)."""
    heads, keys = rows.shape[1:]
    seen = (
        torch.arange(keys, device=rows.device)[None, None] <= torch.from_numpy(positions).to(rows.device)[:, None, None]
    )
    return Ragged(rows[seen.expand_as(rows)], heads * (positions + 1))
