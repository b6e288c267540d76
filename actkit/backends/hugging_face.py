"""Hugging Face models: found, described, and loaded from safetensors."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from actkit.backends.explain import explained
from actkit.backends.hooked import HuggingFaceModel
from actkit.backends.sites import Site
from actkit.bundled import NAME, TINY
from actkit.config import Attention, ModelSpec
from actkit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from actkit.backends.model import Description


def locate(name: str) -> str:
    """The directory or Hugging Face id that `name` stands for."""
    if name == NAME:
        return str(TINY)
    if Path(name).is_dir():
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: no such directory", "a model directory has config.json, weights and tokenizer.json")
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
    """`auto` is sdpa where Hugging Face has it for the architecture, eager elsewhere."""
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
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {spec.name} cannot tell character spans", "it needs a tokenizer.json")
    # The warning about texts beyond the context is the planner's business: it truncates or rejects, and counts.
    tokenizer.model_max_length = 10**9
    return tokenizer


def revision_of(location: str, spec: ModelSpec) -> str | None:
    """The hub's commit; for a local directory a digest of its configuration, tokenizer and weight files."""
    if not Path(location).is_dir():
        from transformers.utils.hub import cached_file

        with explained(spec, "configuration"):
            path = cached_file(location, "config.json", revision=spec.revision)
        # The cache keeps each commit's files under snapshots/<commit>/.
        return Path(str(path)).parent.name
    digest = hashlib.sha256()
    for path in sorted(Path(location).iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".model"):
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as file:
                # The ends of a weight file hold its index and its last tensor; reading 18 GB whole would take minutes.
                digest.update(file.read(1 << 20))
                file.seek(-min(path.stat().st_size, 1 << 20), 2)
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


def load(description: "Description", sites: Mapping[str, Site], attn: Attention | None = None) -> "HuggingFaceModel":
    """Load the weights, from safetensors only, and find the modules of `sites` (hook point → site)."""
    from transformers import AutoModelForCausalLM

    spec = description.spec
    attn = attn or spec.attn
    with explained(spec, "weights"):
        module, info = AutoModelForCausalLM.from_pretrained(
            description.location,
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
            dtype=getattr(torch, spec.dtype),
            attn_implementation=attn,
            use_safetensors=True,
            output_loading_info=True,
        )
        if info["missing_keys"]:
            first = sorted(info["missing_keys"])[0]
            raise ModelError(
                f"{spec.name}: the weights lack {len(info['missing_keys'])} tensors, such as {first}",
                "the checkpoint does not belong to its config.json, or a file of it is missing",
            )
        module = module.to(spec.device).eval()
    module.requires_grad_(False)
    modules = dict(module.named_modules())
    return HuggingFaceModel(description, module, {name: (modules[site.path], site) for name, site in sites.items()})
