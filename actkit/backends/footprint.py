"""How much memory a model's weights take, before they are loaded."""

from collections.abc import Sequence

import torch

from actkit.backends.hugging_face import LAYERS_STAND_ALONE, shortened
from actkit.backends.model import Description
from actkit.backends.sites import block_sites
from actkit.hooks import HookPoint


def weight_bytes(description: Description, hook_points: Sequence[HookPoint]) -> int:
    """Bytes of the weights that are loaded to read `hook_points`: blocks above the last of them may be left out.

    The model is built without memory for its weights, on torch's device `meta`.
    """
    from transformers import AutoModelForCausalLM

    spec, config = description.spec, description.config
    if spec.loaded is not None:
        return sum(one.numel() * one.element_size() for one in spec.loaded[0].parameters())
    sites = block_sites(config, description.architecture)
    if config.model_type in LAYERS_STAND_ALONE and all(point.name in sites for point in hook_points):
        config = shortened(config, max(point.layer for point in hook_points) + 1)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, spec.dtype), trust_remote_code=spec.trust_remote_code
        )
    return sum(one.numel() * one.element_size() for one in module.parameters())
