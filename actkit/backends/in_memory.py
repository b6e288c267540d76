"""Models of TransformerLens that a caller has in memory: a `HookedTransformer` or a bridge, run through its own hooks.

What is stored is what that object computes: a `HookedTransformer` with folded norms and centred weights has another
residual stream than the Hugging Face model, and that one is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from actkit.backends.hooked import HookCalls, check_known
from actkit.backends.tensors import Weights, of_weights, unembedding
from actkit.errors import ModelError, in_short

if TYPE_CHECKING:
    from actkit.backends.model import Description, HookFn


def is_of_transformer_lens(model: Any) -> bool:
    """Whether a model has TransformerLens's hooks: a `HookedTransformer`, a bridge, or what behaves like them."""
    own = ("hooks", "hook_dict", "cfg", "tokenizer")
    return isinstance(model, torch.nn.Module) and all(hasattr(model, name) for name in own)


def config_of(model: Any) -> Any:
    """The configuration of such a model as Hugging Face would say it: of a bridge, that of the model in it."""
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
    """A model of TransformerLens, read through its own hooks."""

    description: "Description"
    module: Any
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
        """See `Model.run`; rows are single sequences here, padded on the right, which no earlier token sees."""
        del positions
        if tree is not None:
            raise ValueError("a model of TransformerLens runs one sequence a row")
        if not hasattr(self.module, "original_model"):
            most = int(self.module.cfg.d_vocab)
            if int(input_ids.max()) >= most:
                raise ModelError(
                    f"token id {int(input_ids.max())} is not one of the model's {most}", "give its tokenizer"
                )
        else:
            check_known(self.module.original_model, input_ids)
        calls = HookCalls(taps, tuple(input_ids.shape))
        hooks = [(name, calls.hook(name)) for name in taps]
        ids = input_ids.to(self.description.spec.device)
        # Said to be all there, else a tokenizer that pads on the left has tokens masked that look like padding.
        whole = torch.ones_like(ids)
        with torch.inference_mode(), self.module.hooks(fwd_hooks=hooks), calls.stopping():
            self.module(ids, return_type=None, attention_mask=whole)
        calls.check()


def check_hook_points(model: Any, points: list[str]) -> None:
    """Raise ModelError for a hook point that the model does not have, or that it is not set to compute."""
    import difflib

    for point in points:
        if point not in model.hook_dict:
            near = difflib.get_close_matches(point, list(model.hook_dict), n=4, cutoff=0.4)
            raise ModelError(
                f"{type(model).__name__} has no hook point {point}",
                f"the nearest are {', '.join(near)}" if near else "its hook_dict lists them",
            )
        try:
            with model.hooks(fwd_hooks=[(point, HookCalls({}, ()).hook(point))]):
                pass
        except ValueError as error:
            raise ModelError(
                f"{type(model).__name__} is not set to compute {point} ({in_short(str(error))})", "set it before"
            ) from error
