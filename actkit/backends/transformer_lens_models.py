"""Run models with TransformerLens's own hooks: its bridge around a Hugging Face model, and models in memory.

The bridge computes hook points that are no module's input or output. For a `HookedTransformer` or a bridge in memory, a
run stores the numbers of that object: with folded norms and centred weights, its residual stream is not the Hugging
Face model's.
"""

import difflib
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from actkit.backends import hugging_face, placement
from actkit.backends.hooked import HookCalls, Stop, check_known
from actkit.backends.model import Description, HookFn
from actkit.backends.tensors import Weights, of_weights, unembedding
from actkit.backends.transformer_lens import wrapped
from actkit.errors import ModelError, in_short

TRIED = 24
"""Tokens on which the bridge is compared with the model when it is loaded."""

TRIED_OFF, TRIED_OFF_16 = 1e-3, 0.1
"""Largest difference of logits, as a share of the largest logit, in float32 and in 16 bits."""


@dataclass(frozen=True)
class BridgedModel:
    """A model that runs through TransformerLens's bridge: it has all hook points, but eager attention."""

    description: Description
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
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn]
    ) -> None:
        """See `Model.run`. Raises ValueError for a tree: the bridge builds its own mask."""
        del positions
        check_known(self.module, input_ids)
        _run(self.bridge, input_ids.to(self.description.spec.device), tree, taps, use_cache=False)


def load(description: Description) -> BridgedModel:
    """Load the model with eager attention, which alone computes patterns, and wrap it in the bridge.

    Raises ModelError where the bridge's logits differ from the model's in its usual attention, on `TRIED` tokens. So
    they do, for example, where transformers adds ALiBi twice in Falcon's eager attention.
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
    """Switch the module to another attention implementation; None where it cannot be switched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.set_attn_implementation(attn)
    return module if module.config._attn_implementation == attn else None


def _logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(ids, use_cache=False).logits.float()
    return found


def is_of_transformer_lens(model: Any) -> bool:
    """Whether a model has TransformerLens's hooks, as a `HookedTransformer` or a bridge does."""
    own = ("hooks", "hook_dict", "cfg", "tokenizer")
    return isinstance(model, torch.nn.Module) and all(hasattr(model, name) for name in own)


def config_of(model: Any) -> Any:
    """A Hugging Face configuration for such a model; for a bridge, that of the model in it."""
    from transformers import PretrainedConfig

    inner = getattr(getattr(model, "original_model", None), "config", None)
    if inner is not None:
        return inner
    about = model.cfg
    return PretrainedConfig(
        architectures=[type(model).__name__],
        name_or_path=str(getattr(about, "model_name", None) or type(model).__name__),
        num_hidden_layers=about.n_layers,
        hidden_size=about.d_model,
        vocab_size=about.d_vocab,
        max_position_embeddings=about.n_ctx,
        num_attention_heads=about.n_heads,
        head_dim=about.d_head,
    )


@dataclass(frozen=True)
class TransformerLensModel:
    """A TransformerLens model in memory, read through its own hooks."""

    description: Description
    module: Any
    shares_prefixes = False

    def weights_digest(self) -> str:
        """See `Model.weights_digest`."""
        return of_weights(Weights(self.module))

    def unembedding(self) -> torch.Tensor | None:
        """See `Model.unembedding`."""
        return unembedding(self.module)

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn]
    ) -> None:
        """See `Model.run`. Raises ValueError for a tree. Padding is on the right, so no real token attends to it."""
        del positions
        if hasattr(self.module, "original_model"):
            check_known(self.module.original_model, input_ids)
        elif int(input_ids.max()) >= int(self.module.cfg.d_vocab):
            raise ModelError(
                f"token id {int(input_ids.max())} is not one of the model's {self.module.cfg.d_vocab}",
                "give its tokenizer",
            )
        ids = input_ids.to(self.description.spec.device)
        # The mask is all ones: else, for a tokenizer that pads on the left, tokens that look like padding are masked.
        _run(self.module, ids, tree, taps, attention_mask=torch.ones_like(ids))


def _run(model: Any, ids: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn], **options: Any) -> None:
    """Run `ids` [batch, column], one sequence per row. Raises ValueError for a tree, and as `HookCalls.check` does."""
    if tree is not None:
        raise ValueError("TransformerLens runs one sequence a row")
    calls = HookCalls(taps, tuple(ids.shape))
    hooks = [(name, partial(_serve, calls, name)) for name in taps]
    with torch.inference_mode(), model.hooks(fwd_hooks=hooks), suppress(Stop):
        model(ids, return_type=None, **options)
    calls.check()


def _serve(calls: HookCalls, name: str, tensor: torch.Tensor, hook: Any) -> None:
    del hook  # TransformerLens passes its hook point under this name
    calls.serve(name, tensor)


def check_hook_points(model: Any, points: list[str]) -> None:
    """Raise ModelError for a hook point that the model does not have, or that it is not set to compute."""
    for point in points:
        if point not in model.hook_dict:
            near = difflib.get_close_matches(point, list(model.hook_dict), n=4, cutoff=0.4)
            raise ModelError(
                f"{type(model).__name__} has no hook point {point}",
                f"the nearest are {', '.join(near)}" if near else "its hook_dict lists them",
            )
        try:
            with model.hooks(fwd_hooks=[(point, partial(_serve, HookCalls({}, ()), point))]):
                pass
        except ValueError as error:
            raise ModelError(
                f"{type(model).__name__} is not set to compute {point} ({in_short(str(error))})", "set it before"
            ) from error
