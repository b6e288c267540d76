"""The plain Hugging Face model, which computes a run's numbers again: one sequence, no padding, the whole model.

It shares no code with the computation of a run: no batches, no trees, no masks of actkit's, no early stop. Only the
`sites` are the same: the module of a hook point, and its input or output.
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from actkit.backends import hugging_face
from actkit.backends.hooked import HuggingFaceModel
from actkit.backends.model import Description, Model
from actkit.backends.placement import input_device
from actkit.backends.sites import Site
from actkit.backends.transformer_lens import block_sites
from actkit.config import Attention
from actkit.errors import ModelError
from actkit.hooks import HookPoint

OF_BLOCKS = {"hook_resid_pre": 0, "hook_resid_post": 1}
"""Hook points that are entries of Hugging Face's `hidden_states` → the offset: for block l, entries l and l + 1."""
FIRST = HookPoint(0, "hook_resid_pre")


@dataclass(frozen=True)
class PlainModel:
    """A Hugging Face model as `transformers` loads it, and the sites of the hook points in its blocks."""

    module: Any
    sites: Mapping[str, Site]

    def has(self, point: HookPoint) -> bool:
        """Whether the hook point is the input or output of a loaded module; only a bridge computes others."""
        return point.name in self.sites and point.layer < self.n_layers

    @property
    def n_layers(self) -> int:
        """The number of blocks that were loaded."""
        return int(self.module.config.get_text_config().num_hidden_layers)

    def read(self, token_ids: npt.NDArray[np.int64], points: Sequence[HookPoint]) -> dict[HookPoint, torch.Tensor]:
        """Run one sequence; return [n_tokens, width] at each hook point, in the model's dtype.

        Raises ModelError where a module is not run exactly once.
        """
        device = torch.device(input_device(self.module))
        inputs: dict[str, Any] = {
            "input_ids": torch.from_numpy(np.ascontiguousarray(token_ids, dtype=np.int64))[None].to(device),
            "use_cache": False,
            "output_hidden_states": True,
        }
        if "logits_to_keep" in inspect.signature(self.module.forward).parameters:
            inputs["logits_to_keep"] = 1  # logits are not used, and can be larger than everything else
        hooked: dict[HookPoint, list[torch.Tensor]] = {point: [] for point in {*points, FIRST} if self.has(point)}
        modules = dict(self.module.named_modules())
        with ExitStack() as handles, torch.inference_mode():
            for point, tensors in hooked.items():
                site = self.sites[point.name]
                handles.enter_context(site.hook(modules[site.path.format(layer=point.layer)], partial(_keep, tensors)))
            states = self.module(**inputs).hidden_states
        # Mamba's first hidden state is the output of its first block, not the input: then hooks read all hook points.
        usual = FIRST not in hooked or torch.equal(states[0], hooked[FIRST][0].to(states[0].device))
        found = {}
        for point in points:
            tensors = hooked[point]
            if usual and self._is_state(point):
                tensors = [states[point.layer + OF_BLOCKS[point.name]]]
            if len(tensors) != 1:
                raise ModelError(f"the module of {point} ran {len(tensors)} times in one forward pass, not once")
            found[point] = tensors[0]
        # Some modules get tokens without a batch, others separate heads; one sequence is [n_tokens, width] either way.
        return {point: found[point].reshape(len(token_ids), -1).to(device) for point in points}

    def _is_state(self, point: HookPoint) -> bool:
        """Whether the hook point is a hidden state; the last block's output is not, since the last state is normed."""
        return point.name in OF_BLOCKS and point.layer + OF_BLOCKS[point.name] < self.n_layers


def plain_of(model: Model) -> PlainModel:
    """The plain model for a run in progress: the run's own module, or one loaded anew where a bridge runs it."""
    if isinstance(model, HuggingFaceModel):
        return _plain(model.description, model.module)
    return load_plain(model.description, "eager")


def load_plain(description: Description, attn: Attention | None = None) -> PlainModel:
    """Load the whole model, with another attention implementation if `attn` is given.

    Raises ModelError for a model that cannot be loaded.
    """
    return _plain(description, hugging_face.load(description, {}, attn=attn).module)


def _plain(description: Description, module: torch.nn.Module) -> PlainModel:
    return PlainModel(module, block_sites(description.config, description.architecture))


def _keep(found: list[torch.Tensor], tensor: torch.Tensor) -> None:
    found.append(tensor.detach().clone())  # later modules may write to it
