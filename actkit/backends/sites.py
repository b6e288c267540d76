"""`Site`: the place of a hook point in a Hugging Face model, the input or output of a module of a block."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from actkit.hooks import D_MODEL_WIDE, HookPoint

NATIVE = (*D_MODEL_WIDE, "attn.hook_z")
"""Hook points that are read from the Hugging Face module, where the architecture has them. The bridge computes the
others, inside its own modules, or as something that is no module's input or output."""


@dataclass(frozen=True)
class Site:
    """The input or the output of a module."""

    path: str
    """The module's path in the Hugging Face model, with `{layer}` for the block's number."""
    side: Literal["in", "out"]

    def of_layer(self, layer: int) -> "Site":
        """The site in one block, with the block's number in the path."""
        return replace(self, path=self.path.format(layer=layer))

    def hook(self, module: torch.nn.Module, found: Callable[[torch.Tensor], torch.Tensor | None]) -> Any:
        """Pass `found` the tensor at this side of `module` in each forward pass; return the handle of torch's hook.

        A tensor that `found` returns replaces the one that it got; with None the pass goes on unchanged.
        """

        def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            new = found(args[0] if args else kwargs["hidden_states"])
            if new is None:
                return None
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        def after(_: torch.nn.Module, __: tuple[Any, ...], output: Any) -> Any:
            has_more = isinstance(output, (tuple, list))
            new = found(output[0] if has_more else output)
            return new if new is None or not has_more else type(output)((new, *output[1:]))

        if self.side == "in":
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)


def misnamed(config: Any, architecture: str) -> frozenset[str]:
    """Hook points whose name means another tensor in TransformerLens's adapters, for this configuration.

    Their `hook_resid_mid` is the input of the block's second norm. Where norms come after attention and MLP (OPT of
    350 M parameters, the first GPT, BERT), that contains the MLP's output already. Their `hook_attn_out` of BERT is the
    residual stream after attention, and Falcon-H1 scales attention's output before adding it.
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
    """The five hook points of `names` (of a block) that are most like `point`; those of width d_model if none is."""
    return difflib.get_close_matches(point.name, list(names), n=5, cutoff=0.4) or list(D_MODEL_WIDE)
