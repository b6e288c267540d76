"""Run a Hugging Face model with hooks on its own modules, up to the last hook point that is read."""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch

from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.model import Description, HookFn
from actkit.backends.sites import Site
from actkit.backends.tensors import Weights, of_weights, to_device, unembedding
from actkit.backends.transformer_lens import block_sites
from actkit.errors import ModelError

STREAM = "hook_resid_post"


@dataclass(frozen=True)
class HuggingFaceModel:
    """A `Model`: the Hugging Face module, with hooks at the sites of `hooked`."""

    description: Description
    module: torch.nn.Module
    hooked: Mapping[str, tuple[torch.nn.Module, Site]]

    @property
    def shares_prefixes(self) -> bool:
        """Whether a test shows that trees give the numbers of single sequences for this kind of model."""
        return self.description.config.get_text_config().model_type in TREE_MODELS

    @cached_property
    def blocks(self) -> list[torch.nn.Module]:
        """All blocks of the model, in order: the modules whose output is `hook_resid_post`. Needs the whole model.

        They are found once per model, since the adapters of most architectures take a second. Raises ModelError where
        no module has that output.
        """
        about = self.description
        site = block_sites(about.config, about.architecture).get(STREAM)
        if site is None or site.side != "out":
            raise ModelError(f"{about.spec.name} ({about.architecture}) has no {STREAM}", "it cannot be steered")
        modules = dict(self.module.named_modules())
        return [modules[site.path.format(layer=layer)] for layer in range(about.n_layers)]

    def weights_digest(self) -> str:
        """See `Model.weights_digest`."""
        return of_weights(Weights(self.module))

    def unembedding(self) -> torch.Tensor | None:
        """See `Model.unembedding`."""
        return unembedding(self.module)

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn]
    ) -> None:
        """See `Model.run`."""
        inputs = self.inputs(input_ids, positions, tree)
        calls = HookCalls(taps, tuple(input_ids.shape))
        with ExitStack() as hooks, torch.inference_mode():
            for name in taps:
                module, site = self.hooked[name]
                hooks.enter_context(site.hook(module, partial(calls.serve, name)))
            with fast_modules(self.module), fast_products(), suppress(Stop):
                self.module(**inputs)
        calls.check()

    def inputs(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None) -> dict[str, Any]:
        """Make the module's arguments for a batch, as `Model.run` takes it. Raises ModelError as `check_known` does.

        Without a tree there is no mask: attention is causal and padding is on the right, so no real token attends to
        it, and the faster causal kernel runs. A mask made from ids would drop real tokens where pad and eos are equal.
        """
        check_known(self.module, input_ids)
        device = self.description.spec.device
        inputs: dict[str, Any] = {"input_ids": to_device(input_ids, device), "use_cache": False}
        if tree is not None:
            inputs["position_ids"] = to_device(positions, device)
            config = self.description.config.get_text_config()
            dtype: torch.dtype = self.module.dtype  # type: ignore[assignment]
            inputs["attention_mask"] = tree_mask(to_device(tree, device), inputs["position_ids"], config, dtype)
        return inputs


def check_known(module: Any, input_ids: torch.Tensor) -> None:
    """Raise ModelError for a token id without an embedding; `input_ids` is on the host. A GPU would end the process."""
    known, largest = getattr(module.get_input_embeddings(), "num_embeddings", None), int(input_ids.max())
    if known is not None and largest >= known:
        raise ModelError(
            f"the tokenizer gave token id {largest}, but the model has embeddings of 0 to {known - 1} only",
            "model and tokenizer do not belong together, or a text holds a special token that was added to the "
            "tokenizer alone; give the model with its own tokenizer, or take that token out of the text",
        )


class Stop(Exception):  # noqa: N818 - it is no error
    """All hook points are read: leave the forward pass."""


@dataclass
class HookCalls:
    """The taps of one forward pass, and how often each was called: once, if all is well."""

    taps: Mapping[str, HookFn]
    shape: tuple[int, ...]
    """[batch, column] of the forward pass."""
    times: dict[str, int] = field(default_factory=dict)

    def serve(self, name: str, tensor: torch.Tensor) -> None:
        """Pass a tensor to its tap; after the last tap, raise Stop. Raises ModelError for a tensor without a batch."""
        self.times[name] = self.times.get(name, 0) + 1
        if self.times[name] == 1:
            # Some modules get all tokens in one row (OPT's MLP, some experts): [batch * column, d_model].
            flat = tensor.ndim == 2 and len(tensor) == self.shape[0] * self.shape[1]
            if not flat and (tensor.ndim < 3 or len(tensor) != self.shape[0]):
                raise ModelError(
                    f"{name} has a tensor of shape {tuple(tensor.shape)} for {self.shape[0]} texts: nothing of each",
                    "read another hook point, such as hook_resid_post",
                )
            self.taps[name](tensor.reshape(*self.shape, -1) if flat else tensor)
        if len(self.times) == len(self.taps):
            raise Stop

    def check(self) -> None:
        """Raise ModelError unless every hook point fired once."""
        wrong = [name for name in self.taps if self.times.get(name) != 1]
        if wrong:
            raise ModelError(
                f"hook point {wrong[0]} fired {self.times.get(wrong[0], 0)} times in one forward pass, not once",
                "this architecture does not run that module as expected; choose another hook point",
            )


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
"""`model_type` → how a sliding window limits attention, for models of which a test shows that trees give the numbers of
single sequences. Others run every sequence whole, such as those with ALiBi, which takes positions from a flat mask."""


def tree_mask(
    tree: torch.Tensor, positions: torch.Tensor, config: Any, dtype: torch.dtype
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The additive mask [batch, 1, query, key], zero or the lowest value; a dict where layers are of several kinds.

    `tree` is bool [batch, query, key]; `positions` [batch, column] are positions in each column's own sequence, by
    which a sliding window measures distance.
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
