"""Attention masks for trees of sequences, in the form that each model takes them.

A tree's mask says for every pair of columns whether one may attend to the other, by position and by branch. Models
differ in what else narrows attention: nothing, one sliding window, or a window in some layers only.
"""

from typing import Any

import torch

TREE_MODELS = {
    "llama": "none",
    "gpt2": "none",
    "gpt_neox": "none",
    "phi": "none",
    "olmo2": "none",
    "gemma": "none",
    "stablelm": "none",
    "granite": "none",
    "smollm3": "by layer",
    "mistral": "window",
    "phi3": "window",
    "gemma2": "by layer",
    "gemma3_text": "by layer",
    "qwen2": "by layer",
    "qwen3": "by layer",
}
"""`model_type` → what narrows attention; only models for which a test shows tree = single sequences. The others, such
as those with ALiBi, which derive positions from a flat mask, run every sequence whole."""


def tree_mask(
    tree: torch.Tensor, positions: torch.Tensor, config: Any, dtype: torch.dtype
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The additive mask [batch, 1, query, key], zero or the lowest value; a dict where layers are of several kinds.

    `tree` is bool [batch, query, key]; `positions` [batch, column] are positions in each column's own sequence, which
    is what a sliding window counts.
    """
    kind = TREE_MODELS[config.model_type]
    window = getattr(config, "sliding_window", None) if kind != "none" else None
    full = _additive(tree, dtype)
    if window is None:
        return full if kind != "by layer" else {"full_attention": full}
    near = tree & (positions[:, :, None] - positions[:, None, :] < window)
    slid = _additive(near, dtype)
    return slid if kind == "window" else {"full_attention": full, "sliding_attention": slid}


def _additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, lowest)[:, None]
