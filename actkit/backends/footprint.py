"""Compute the bytes of a model's weights before they are loaded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from actkit.backends.model import Description
from actkit.backends.partial_load import LAYERS_STAND_ALONE, shortened
from actkit.backends.transformer_lens import block_sites
from actkit.config import Quantize
from actkit.hooks import HookPoint

BLOCK = 64
"""Weights in 4 bits that share a 4-byte scale: bitsandbytes's default."""
CODES = 16 * 4
"""Bytes of each matrix's code table: the 16 numbers that 4 bits encode."""


def weight_bytes(description: Description, hook_points: Sequence[HookPoint]) -> int:
    """Bytes of the weights that `load` reads for `hook_points`: blocks above the last of them may be left out.

    The model is built without memory for its weights, on torch's device `meta`.
    """
    spec, config = description.spec, description.config
    if spec.loaded is not None:
        return _bytes(spec.loaded[0])
    sites = block_sites(config, description.architecture)
    if config.model_type in LAYERS_STAND_ALONE and all(point.name in sites for point in hook_points):
        config = shortened(config, max(point.layer for point in hook_points) + 1)
    module = _empty(replace(description, config=config))
    whole = _bytes(module)
    return whole if spec.quantize is None else whole - _saved(module, spec.quantize)


def whole_bytes(description: Description) -> int:
    """Bytes of all weights of the configuration, in the dtype of the spec."""
    return _bytes(_empty(description))


def _empty(description: Description) -> Any:
    from transformers import AutoModelForCausalLM

    spec = description.spec
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            description.config, dtype=getattr(torch, spec.dtype), trust_remote_code=spec.trust_remote_code
        )


def _bytes(module: Any) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _saved(module: Any, quantize: Quantize) -> int:
    """Bytes that a model saves when bitsandbytes holds its linear weights in 8 or 4 bits.

    Only linear layers of blocks are quantized: `transformers` leaves the output layer as it is, and embeddings, norms
    and biases are no linear weights. 8 bits take a byte per weight and a float32 per row (Dettmers et al. 2022). 4 bits
    take half a byte per weight, a float32 per `BLOCK` weights (Dettmers et al. 2023), and `CODES`.
    """
    from transformers.pytorch_utils import Conv1D  # GPT-2's, whose weight is transposed

    saved, head = 0, module.get_output_embeddings()
    for inner in module.modules():
        if type(inner) not in (torch.nn.Linear, Conv1D) or inner is head:
            continue
        n, rows = inner.weight.numel(), int(inner.weight.shape[1 if isinstance(inner, Conv1D) else 0])
        left = n + 4 * rows if quantize == "8bit" else -(-n // 2) + 4 * -(-n // BLOCK) + CODES
        saved += int(n * inner.weight.element_size()) - left
    return saved
