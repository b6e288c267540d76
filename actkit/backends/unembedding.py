"""The output layer of a module, for the direct path from a feature to the tokens."""

from typing import Any

import torch


def unembedding(module: Any) -> torch.Tensor | None:
    """The unembedding [vocabulary, d_model]; None where the model has none that can be read."""
    get = getattr(module, "get_output_embeddings", None)
    layer = get() if get is not None else None
    weight = getattr(layer, "weight", None)
    whole = isinstance(weight, torch.Tensor) and weight.is_floating_point() and not weight.is_meta
    return weight.detach() if whole and weight.ndim == 2 else None  # type: ignore[union-attr]
