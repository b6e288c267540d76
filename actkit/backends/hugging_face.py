"""Hugging Face models: found, described, and loaded from safetensors."""

import copy
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from actkit.backends import placement
from actkit.backends.checkpoints import check_format
from actkit.backends.explain import explained
from actkit.backends.hooked import HuggingFaceModel
from actkit.backends.names import MODEL_DIRECTORY, in_short, is_directory
from actkit.backends.sites import Site
from actkit.bundled import NAME, TINY
from actkit.config import Attention, ModelSpec
from actkit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from actkit.backends.model import Description

LAYERS_STAND_ALONE = frozenset(
    (
        "bloom",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "gptj",
        "granite",
        "llama",
        "mistral",
        "mixtral",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "smollm3",
        "stablelm",
    )
)
"""`model_type`s of which a test shows that a block computes the same in a model cut short. Elsewhere it may not: some
scale by the number of layers, or share keys between the last ones."""


def locate(name: str) -> str:
    """The directory or Hugging Face id that `name` stands for. Raises ModelError for a path that is no directory."""
    if name == NAME:
        return str(TINY)
    if is_directory(name):
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{in_short(name)}: no such directory", MODEL_DIRECTORY)
    if "/" in name:
        return name
    from actkit.backends import transformer_lens

    return transformer_lens.alias_of(name)


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises UsageError for a device that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {device}: {str(error).splitlines()[0]}", "use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    return found


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """`auto` is bfloat16 on a GPU that computes in it, float32 elsewhere."""
    if dtype == "auto":
        return (
            "bfloat16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "float32"
        )
    if dtype not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"--dtype {dtype} is not known", "use auto, float32, bfloat16 or float16")
    return dtype


def resolve_attn(attn: Attention, config: Any) -> Attention:
    """`auto` is sdpa where Hugging Face has it for the architecture, eager elsewhere.

    Raises UsageError for what Hugging Face computes wrongly.
    """
    if attn == "eager" and config.model_type == "falcon" and config.alibi:
        raise UsageError("transformers adds ALiBi twice in Falcon's eager attention", "--attn sdpa")
    if attn != "auto":
        return attn
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        supported = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_sdpa
    except (KeyError, AttributeError):  # code of the model's own repository
        return "eager"
    return "sdpa" if supported else "eager"


def read_config(location: str, spec: ModelSpec) -> Any:
    """The model's configuration."""
    from transformers import AutoConfig

    with explained(spec, "configuration"):
        return AutoConfig.from_pretrained(location, revision=spec.revision, trust_remote_code=spec.trust_remote_code)


def context_of(config: Any) -> int | None:
    """The model's context in tokens.

    For rotary embeddings of the kind longrope (Phi-3 with 128k) it is the shorter, original one: beyond that Hugging
    Face changes the factors of a whole batch, so that a short sequence's numbers would depend on its neighbours.
    """
    context: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    original = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return original if rope.get("rope_type") == "longrope" and original else context


def read_tokenizer(location: str, spec: ModelSpec) -> Any:
    """The model's tokenizer, which must be a fast one: only those know character spans."""
    from transformers import AutoTokenizer

    with explained(spec, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            location, revision=spec.revision, trust_remote_code=spec.trust_remote_code
        )
    tokenizer = checked(tokenizer, spec.name)
    # The warning about texts beyond the context is the planner's business: it truncates or rejects, and counts.
    tokenizer.model_max_length = 10**9
    return tokenizer


def checked(tokenizer: Any, name: str) -> Any:
    """The tokenizer. Raises ModelError for one that is not fast: only those know character spans."""
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {name} cannot tell character spans", "it needs a tokenizer.json")
    return tokenizer


def revision_of(location: str, spec: ModelSpec) -> str | None:
    """The hub's commit; for a local directory a digest of its configuration, tokenizer and weight files."""
    if not is_directory(location):
        from transformers.utils.hub import cached_file

        with explained(spec, "configuration"):
            path = cached_file(location, "config.json", revision=spec.revision)
        # The cache keeps each commit's files under snapshots/<commit>/.
        return Path(str(path)).parent.name
    digest = hashlib.sha256()
    for path in sorted(Path(location).iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".model", ".bin", ".pt", ".pth", ".py"):
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as file:
                # The ends of a weight file hold its index and its last tensor; reading 18 GB whole would take minutes.
                digest.update(file.read(1 << 20))
                file.seek(-min(path.stat().st_size, 1 << 20), 2)
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


def load(
    description: "Description", sites: Mapping[str, Site], attn: Attention | None = None, n_layers: int | None = None
) -> "HuggingFaceModel":
    """Load the weights and find the modules of `sites` (hook point → site).

    Blocks from `n_layers` on are not loaded, where the architecture allows it: nothing reads them.

    Raises ModelError for a model that is not causal, and for a hook point that a block of another kind does not have.
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
        # Of a model in memory, a block that is not there at all was left out by whoever loaded it, who says so better.
        if site.path not in modules and (block in modules or description.spec.loaded is None):
            raise ModelError(
                f"{description.spec.name} ({description.architecture}) has no hook point {point}: "
                f"its block has no {site.path}",
                "blocks differ in this model; name hook points one by one, or read hook_resid_post, which all have",
            )
    return HuggingFaceModel(description, module, {name: (modules[site.path], site) for name, site in sites.items()})


def check_causal(description: "Description") -> None:
    """Raise ModelError where a token attends to later ones: padding would be seen, and so would what is cut off."""
    config = description.config.get_text_config()
    both_ways = getattr(config, "use_bidirectional_attention", None) in (True, "all")
    encoder = config.model_type == "bert" and not config.is_decoder
    if both_ways or encoder or not getattr(config, "is_causal", True):
        raise ModelError(
            f"{description.spec.name} is not causal: its tokens attend to later ones",
            "actkit reads causal language models only",
        )


def shortened(config: Any, n_layers: int) -> Any:
    """A copy of a configuration with the first `n_layers` blocks only."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = n_layers
    if getattr(text, "num_kv_shared_layers", None):
        text.num_kv_shared_layers = 0  # it counts from the end
    if getattr(text, "layer_types", None):
        with suppress(AttributeError):  # some work it out from the number of layers
            text.layer_types = text.layer_types[:n_layers]
    return config


def _from_safetensors(description: "Description", attn: Attention | None, n_layers: int | None) -> Any:
    from transformers import AutoModelForCausalLM

    spec = description.spec
    config = description.config
    if n_layers is not None and config.model_type in LAYERS_STAND_ALONE:
        config = shortened(config, n_layers)
    attn = attn or spec.attn
    check_format(description.location, spec)
    with explained(spec, "weights"):
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
        if info["missing_keys"]:
            first = sorted(info["missing_keys"])[0]
            raise ModelError(
                f"{spec.name}: the weights lack {len(info['missing_keys'])} tensors, such as {first}",
                "the checkpoint does not belong to its config.json, or a file of it is missing",
            )
        # What accelerate has placed must not be moved, and a quantized model cannot be. Weights are where they belong
        # already; a buffer may not be.
        module = module.eval() if placement.placed(spec) else module.to(spec.device).eval()
    module.requires_grad_(False)
    return module
