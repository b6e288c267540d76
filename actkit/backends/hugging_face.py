"""Load Hugging Face models, from safetensors unless pickles are allowed."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from actkit.backends import placement
from actkit.backends.footprint import whole_bytes
from actkit.backends.hooked import HuggingFaceModel
from actkit.backends.load_errors import explained
from actkit.backends.model import Description
from actkit.backends.model_files import check_size
from actkit.backends.names import is_directory
from actkit.backends.partial_load import LAYERS_STAND_ALONE, shortened
from actkit.backends.repository import check_format
from actkit.backends.sites import Site
from actkit.config import Attention
from actkit.errors import ModelError


def load(
    description: Description, sites: Mapping[str, Site], attn: Attention | None = None, n_layers: int | None = None
) -> HuggingFaceModel:
    """Load the weights and find the modules of `sites` (hook point → site).

    Blocks from `n_layers` on are not loaded where the architecture allows that: no hook point needs them.

    Raises ModelError for a model that is not causal, for pickled weights unless they are allowed, and for a hook point
    that a block of another kind does not have.
    """
    check_causal(description)
    if description.spec.loaded is not None:
        module = description.spec.loaded[0]
        module.eval()
    else:
        module = _from_safetensors(description, attn, n_layers)
        if placement.placed(description.spec):
            spec = replace(description.spec, device=placement.input_device(module))
            description = replace(description, spec=spec)
    modules = dict(module.named_modules())
    for point, site in sites.items():
        block = next(re.finditer(r".*?\.\d+", site.path)).group()
        if description.spec.loaded is not None and block.rpartition(".")[0] not in modules:
            raise ModelError(
                f"{type(module).__name__} of {description.spec.name} has no {block.rpartition('.')[0]}",
                "give the whole model, as AutoModelForCausalLM loads it: of torch.compile model._orig_mod, of PEFT "
                "model.get_base_model(), of DataParallel model.module",
            )
        # A whole block that a model in memory lacks is a KeyError below: `api.loading.in_use` says how to load it.
        if site.path not in modules and (block in modules or description.spec.loaded is None):
            raise ModelError(
                f"{description.spec.name} ({description.architecture}) has no hook point {point}: "
                f"its block has no {site.path}",
                "blocks differ in this model; name hook points one by one, or read hook_resid_post, which all have",
            )
    return HuggingFaceModel(description, module, {name: (modules[site.path], site) for name, site in sites.items()})


def check_causal(description: Description) -> None:
    """Raise ModelError where a token attends to later ones: padding and truncated text would change its numbers."""
    config = description.config.get_text_config()
    both_ways = getattr(config, "use_bidirectional_attention", None) in (True, "all")
    encoder = config.model_type == "bert" and not config.is_decoder
    if both_ways or encoder or not getattr(config, "is_causal", True):
        raise ModelError(
            f"{description.spec.name} is not causal: its tokens attend to later ones",
            "actkit reads causal language models only",
        )


def _from_safetensors(description: Description, attn: Attention | None, n_layers: int | None) -> Any:
    from transformers import AutoModelForCausalLM

    spec = description.spec
    config = description.config
    if n_layers is not None and config.model_type in LAYERS_STAND_ALONE:
        config = shortened(config, n_layers)
    attn = attn or spec.attn
    check_format(description.location, spec)
    with explained(spec, "weights"):
        if is_directory(description.location):
            needed = 0
            with suppress(Exception):  # if it cannot be built without memory, loading says why
                needed = whole_bytes(replace(description, config=config))
            check_size(needed, Path(description.location), spec.name)
        load_weights = partial(
            AutoModelForCausalLM.from_pretrained,
            description.location,
            config=config,
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
            dtype=getattr(torch, spec.dtype),
            attn_implementation=attn,
            use_safetensors=None if spec.allow_pickle else True,
            weights_only=True,
            output_loading_info=True,
        )
        module, info = placement.offloading(spec, load_weights)
        # Embedding and reward models lack an output layer, which no hook point needs.
        missing = sorted(set(info["missing_keys"]) - _of_head(module))
        if missing:
            raise ModelError(
                f"{spec.name}: the weights lack {len(missing)} tensors, such as {missing[0]}",
                "the checkpoint does not belong to its config.json, or a file of it is missing",
            )
        # A model that accelerate placed must not be moved, and a quantized one cannot be. In others, weights are in
        # place already, but a buffer may not be.
        module = module.eval() if placement.placed(spec) else module.to(spec.device).eval()
    module.requires_grad_(False)
    return module


def _of_head(module: Any) -> set[str]:
    """The names of the output layer's tensors; none where it shares them with the embedding, which must be loaded."""
    head = module.get_output_embeddings()
    if head is None or head.weight is module.get_input_embeddings().weight:
        return set()
    path = next(path for path, inner in module.named_modules() if inner is head)
    return {f"{path}.{name}" for name, _ in head.named_parameters()}
