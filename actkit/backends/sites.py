"""Sites of hook points in a Hugging Face model: the input or the output of a module of a block."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from actkit.hooks import D_MODEL_WIDE, HookPoint

NATIVE = (*D_MODEL_WIDE, "attn.hook_z")
"""Hook points that are read off the Hugging Face module, where the architecture has them. The others are computed by
the bridge inside modules of its own, or are not any module's input or output."""


@dataclass(frozen=True)
class Site:
    """The input or the output of one module."""

    path: str
    """The module's path in the Hugging Face model, with `{layer}` for the block's number."""
    side: Literal["in", "out"]

    def of_layer(self, layer: int) -> "Site":
        """The site in one block, with its number in the path."""
        return replace(self, path=self.path.format(layer=layer))

    def hook(self, module: torch.nn.Module, found: Callable[[torch.Tensor], None]) -> Any:
        """Hand `found` the tensor at this side of `module` in each forward pass; returns the handle of torch's hook."""

        def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found(args[0] if args else kwargs["hidden_states"])

        def after(_: torch.nn.Module, __: tuple[Any, ...], output: Any) -> None:
            found(output[0] if isinstance(output, (tuple, list)) else output)

        if self.side == "in":
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)


def misnamed(config: Any, architecture: str) -> frozenset[str]:
    """Hook points under whose name the adapters have something else in this configuration.

    `hook_resid_mid` is for them what enters the block's second norm. Where norms come after the parts (OPT of 350 M
    parameters, the first GPT, BERT), the MLP's output is already in that. BERT's `hook_attn_out` is there the residual
    stream after attention, and Falcon-H1 scales what attention gives before it is added.
    """
    text = config.get_text_config()
    if architecture == "OpenAIGPTLMHeadModel" or (architecture == "OPTForCausalLM" and not text.do_layer_norm_before):
        return frozenset({"hook_resid_mid"})
    if text.model_type == "bert":
        return frozenset({"hook_resid_mid", "hook_attn_out"})
    if architecture == "FalconH1ForCausalLM" and text.attention_out_multiplier != 1:
        return frozenset({"hook_attn_out"})
    return frozenset()


def nearest(point: HookPoint, names: Iterable[str]) -> list[str]:
    """The hook points among `names` (of a block) that look most like `point`, those of `NATIVE` first if none does."""
    return difflib.get_close_matches(point.name, list(names), n=5, cutoff=0.4) or list(D_MODEL_WIDE)
