"""Models run through TransformerLens's bridge, for hook points that are no module's input or output."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from actkit.backends import hugging_face, placement
from actkit.backends.hooked import HookCalls, check_known
from actkit.backends.tensors import Weights, of_weights, unembedding
from actkit.backends.transformer_lens import wrapped
from actkit.errors import ModelError

if TYPE_CHECKING:
    from actkit.backends.model import Description, HookFn

TRIED = 24
"""Tokens on which the bridge is compared with the model when it is loaded."""

TRIED_OFF, TRIED_OFF_16 = 1e-3, 0.1
"""How far logits may be off, as a share of the largest, in float32 and in 16 bits."""


@dataclass(frozen=True)
class BridgedModel:
    """A model run through TransformerLens's bridge: any of its hook points, at the price of eager attention."""

    description: "Description"
    module: torch.nn.Module
    bridge: Any
    shares_prefixes = False

    def weights_digest(self) -> str:
        """See `Model.weights_digest`."""
        return of_weights(Weights(self.module))

    def unembedding(self) -> torch.Tensor | None:
        """See `Model.unembedding`."""
        return unembedding(self.module)

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, "HookFn"]
    ) -> None:
        """See `Model.run`; rows are single sequences here, since the bridge builds its own mask."""
        del positions
        if tree is not None:
            raise ValueError("the bridge runs one sequence a row")
        check_known(self.module, input_ids)
        calls = HookCalls(taps, tuple(input_ids.shape))
        hooks = [(name, calls.hook(name)) for name in taps]
        with torch.inference_mode(), self.bridge.hooks(fwd_hooks=hooks), calls.stopping():
            self.bridge(input_ids.to(self.description.spec.device), return_type=None, use_cache=False)
        calls.check()


def load(description: "Description") -> "BridgedModel":
    """Load the model with eager attention, which alone has patterns, and wrap it in the bridge.

    Raises ModelError where the bridge does not compute what the model does. A few tokens, run before and after, show
    that: transformers, for one, adds ALiBi twice in Falcon's eager attention.
    """
    ids = torch.arange(TRIED, device=description.spec.device)[None] % description.config.get_text_config().vocab_size
    usual = placement.resolve_attn("auto", description.config)
    plain = hugging_face.load(description, {}, attn="eager")
    expected = _logits(_in(plain.module, usual) or hugging_face.load(description, {}, attn=usual).module, ids)
    module = _in(plain.module, "eager")
    bridge = wrapped(module, description.spec.device)
    with torch.no_grad():
        off = float((bridge(ids, return_type="logits").float() - expected).abs().max() / expected.abs().max())
    if not off <= (TRIED_OFF if description.spec.dtype == "float32" else TRIED_OFF_16):
        name = description.architecture
        raise ModelError(
            f"TransformerLens, in eager attention, computes {name} otherwise than Hugging Face ({off:.0e} off {usual})",
            "read hook points that are a module's input or output, such as hook_resid_post: they need no bridge",
        )
    return BridgedModel(description, plain.module, bridge)


def _in(module: Any, attn: str) -> Any:
    """The module with another attention implementation; None where it was fixed when the module was made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.set_attn_implementation(attn)
    return module if module.config._attn_implementation == attn else None


def _logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(ids, use_cache=False).logits.float()
    return found
