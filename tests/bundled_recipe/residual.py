"""The residual stream of `tiny`: read from, and replaced in, the plain Hugging Face module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

LAYERS = (1, 2, 3)
"""The blocks (0-based) after which there is an SAE. The last is the model's last, so no forward can be cut short."""


def hook_point(layer: int) -> str:
    """Give the TransformerLens name of the output of block `layer`, before any final norm."""
    return f"blocks.{layer}.hook_resid_post"


def load(path: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load the stored model, its bfloat16 weights as float32, and its tokenizer."""
    # from_pretrained leaves the model in evaluation mode.
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model.requires_grad_(False), PreTrainedTokenizerFast.from_pretrained(path)


@torch.no_grad()
def residuals(model: LlamaForCausalLM, ids: Tensor) -> dict[str, Tensor]:
    """Read `{hook point: [batch, position, d_model]}` for `ids [batch, position]`; no logits are computed."""
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for layer in LAYERS:
            stack.enter_context(replaced(model, layer, _keep_in(found, hook_point(layer))))
        model.model(input_ids=ids, use_cache=False)
    return found


def is_bos(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Mark the positions of `ids` that hold BOS, an attention sink whose norm would swamp every sum."""
    bos = model.config.bos_token_id
    assert isinstance(bos, int)
    return ids.eq(bos)


@contextmanager
def replaced(model: LlamaForCausalLM, layer: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within, the output `[batch, position, d_model]` of block `layer` is what `change` makes of it."""

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return change(output)

    handle = model.model.layers[layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _keep_in(found: dict[str, Tensor], name: str) -> Callable[[Tensor], Tensor]:
    def keep(output: Tensor) -> Tensor:
        found[name] = output
        return output

    return keep
