"""Weights in memory: their digest, which tells whether a run goes on with its model, and the output layer."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

ENDS = 1 << 16
"""Bytes of each end of a tensor that are hashed."""


def of_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the name, shape and dtype of each tensor and the bytes of its first and last 64 KiB.

    All of a large model would take minutes to read. Another checkpoint, a fine-tune or a merge changes every tensor and
    is seen; a single number changed in the middle of a tensor is not.
    """
    sha = hashlib.sha256()
    for name in sorted(tensors):
        flat = tensors[name].detach().reshape(-1)
        sha.update(f"{name} {tuple(tensors[name].shape)} {flat.dtype}\n".encode())
        most = max(ENDS // max(flat.element_size(), 1), 1)
        for end in (flat[:most], flat[-most:]):
            sha.update(end.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def unembedding(module: Any) -> torch.Tensor | None:
    """The unembedding [vocabulary, d_model]; None where the model has none that can be read."""
    get = getattr(module, "get_output_embeddings", None)
    layer = get() if get is not None else None
    weight = getattr(layer, "weight", None)
    whole = isinstance(weight, torch.Tensor) and weight.is_floating_point() and not weight.is_meta
    return weight.detach() if whole and weight.ndim == 2 else None  # type: ignore[union-attr]
