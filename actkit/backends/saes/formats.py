"""Convert SAE directories in other formats into a SAELens configuration and its weights.

SAELens's own converter for sparsify takes a decoder for its transpose, leaves the decoder's bias in the input, and
takes every folder for a residual stream. Its converter for dictionary_learning reads the hub only. Files by format:

    SAELens               cfg.json, sae_weights.safetensors
    sparsify              cfg.json, sae.safetensors; named layers.N or layers.N.mlp
    dictionary_learning   config.json, ae.pt
"""

import importlib.metadata
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from actkit.backends.load_errors import explained_sae
from actkit.backends.names import is_directory, is_hub_id, no_directory
from actkit.backends.repository import cached
from actkit.errors import ModelError, UsageError, in_short

Parts = tuple[dict[str, Any], dict[str, torch.Tensor]]
Converter = Callable[..., Parts]
"""(path, device, cfg_overrides) → configuration, weights: a `converter` for SAELens's `load_from_disk`."""

CLASSES = {
    "AutoEncoder": "standard",
    "GatedAutoEncoder": "gated",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
}
"""dictionary_learning's class → SAELens's architecture. A trained BatchTopK has the threshold of a JumpReLU."""

POINTS = {"resid_post": "hook_resid_post", "mlp_out": "mlp.hook_out", "attention_out": "attn.hook_out"}
"""Beginning of dictionary_learning's `submodule_name` → hook point. The last two are a module's own output, before the
norm that follows in some architectures."""


def converter(path: Path) -> Converter | None:
    """Choose the converter for a directory by the files in it; None for SAELens's own format.

    Raises ModelError where there is no directory, or no SAE in it.
    """
    if not is_directory(path):
        raise ModelError(f"{in_short(path)}: {no_directory(path)}", "an SAE's has cfg.json and sae_weights.safetensors")
    files = {entry.name for entry in path.iterdir()}
    if {"cfg.json", "sae_weights.safetensors"} <= files:
        return None
    if {"cfg.json", "sae.safetensors"} <= files:
        return from_sparsify
    if {"config.json", "ae.pt"} <= files:
        return from_dictionary_learning
    raise ModelError(
        f"{path}: no SAE in SAELens's format, nor in sparsify's or dictionary_learning's",
        "it has cfg.json and sae_weights.safetensors; SAELens's SAE.save_model writes them",
    )


def from_sparsify(path: Path, device: str = "cpu", cfg_overrides: Mapping[str, Any] | None = None) -> Parts:
    """Convert an SAE of EleutherAI's sparsify: TopK of a ReLU, with the decoder's bias subtracted from the input.

    Raises ModelError for transcoders, signed features and GroupMax, for which SAELens has no class, and for a folder
    whose name does not say which module's output the SAE reads.
    """
    from safetensors.torch import load_file

    about = json.loads((path / "cfg.json").read_text(encoding="utf-8"))
    odd = [name for name in ("transcode", "skip_connection", "signed") if about.get(name)]
    if about.get("activation", "topk") != "topk":
        odd.append(about["activation"])
    if odd:
        raise ModelError(f"{path}: sparsify's {odd[0]} is not read", "actkit reads sparsify's TopK SAEs")
    match = re.fullmatch(r"(?:.+\.)?(?:layers|h|blocks)[._](\d+)(?:[._](mlp|attn|self_attn|attention))?", path.name)
    if match is None:
        raise ModelError(f"{path}: which hook point does it read?", "sparsify's folders are called layers.5 or h.5.mlp")
    part = {None: "hook_resid_post", "mlp": "mlp.hook_out"}.get(match[2], "attn.hook_out")
    run = path.parent / "config.json"
    of_run = json.loads(run.read_text(encoding="utf-8")) if run.is_file() else {}
    held = load_file(path / "sae.safetensors", device=str(device))
    weights = {
        "W_enc": held["encoder.weight"].T.contiguous(),
        "b_enc": held["encoder.bias"],
        "W_dec": held["W_dec"],
        "b_dec": held["b_dec"],
    }
    says = {"hook_name": f"blocks.{match[1]}.{part}", "model_name": of_run.get("model")}
    says |= {"context_size": of_run.get("ctx_len"), "dataset_path": of_run.get("dataset")}
    return _parts("topk", weights, says | {"format": "sparsify"}, {"k": about["k"]}, device, cfg_overrides)


def from_dictionary_learning(path: Path, device: str = "cpu", cfg_overrides: Mapping[str, Any] | None = None) -> Parts:
    """Convert an SAE of dictionary_learning; `ae.pt` is read as tensors only, so no code in it can run.

    Raises ModelError for a class that is not in `CLASSES`, or a module that is not in `POINTS`.
    """
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    trainer = config["trainer"]
    kind, module = trainer["dict_class"], str(trainer.get("submodule_name") or "resid_post")
    point = next((point for name, point in POINTS.items() if module.startswith(name)), None)
    if kind not in CLASSES:
        raise ModelError(f"{path}: {kind} of dictionary_learning is not read", f"those are: {', '.join(CLASSES)}")
    if point is None or config.get("buffer", {}).get("io", "out") != "out":
        raise ModelError(f"{path} reads {module}", "actkit reads the output of blocks, of MLPs and of attention")
    held = torch.load(path / "ae.pt", map_location=device, weights_only=True)
    weights = {"W_enc": _either(held, "W_enc", "encoder.weight"), "W_dec": _either(held, "W_dec", "decoder.weight")}
    weights["b_dec"] = next(held[name] for name in ("b_dec", "bias", "decoder_bias") if name in held)
    for ours, theirs in (("b_enc", "encoder.bias"), ("b_mag", "mag_bias"), ("b_gate", "gate_bias"), ("r_mag", "r_mag")):
        found = held.get(ours, held.get(theirs))
        if found is not None and (kind == "GatedAutoEncoder") == (ours != "b_enc"):
            weights[ours] = found
    own: dict[str, Any] = {"k": int(trainer["k"])} if kind == "AutoEncoderTopK" else {}
    if CLASSES[kind] == "jumprelu":
        weights["threshold"] = held["threshold"].expand(weights["W_enc"].shape[1]).contiguous()
    if kind == "JumpReluAutoEncoder":
        own["apply_b_dec_to_input"] = bool(trainer.get("apply_b_dec_to_input", False))
    says = {"hook_name": f"blocks.{trainer['layer']}.{point}", "model_name": trainer.get("lm_name")}
    says |= {"context_size": config.get("buffer", {}).get("ctx_len"), "format": "dictionary_learning"}
    return _parts(CLASSES[kind], weights, says, own, device, cfg_overrides)


def _either(held: Mapping[str, torch.Tensor], matrix: str, linear: str) -> torch.Tensor:
    """A matrix in SAELens's orientation: as stored, or the transpose of a torch Linear's weight."""
    return held[matrix] if matrix in held else held[linear].T.contiguous()


def _parts(
    architecture: str,
    weights: dict[str, torch.Tensor],
    says: Mapping[str, Any],
    own: Mapping[str, Any],
    device: str,
    overrides: Mapping[str, Any] | None,
) -> Parts:
    d_in, d_sae = weights["W_enc"].shape

    config = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": str(device),
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        **own,
        # SAELens takes a configuration without a version for one older than its version 6.
        "metadata": {
            "sae_lens_version": importlib.metadata.version("sae-lens"),
            **{k: v for k, v in says.items() if v is not None},
        },
        **(overrides or {}),
    }
    return config, {name: weight.to(torch.float32) for name, weight in weights.items()}


def check_activation(about: Mapping[str, Any], name: str) -> None:
    """Raise ModelError for an activation function other than ReLU and TopK: SAELens would compute ReLU instead."""
    function = next((about[key] for key in ("activation_fn_str", "activation_fn") if about.get(key)), "relu")
    more = about.get("activation_fn_kwargs")
    if function not in ("relu", "topk"):
        raise ModelError(f"{name}: its activation function {in_short(str(function))} is not read", "relu and topk are")
    if function == "topk" and about.get("k", more.get("k") if isinstance(more, Mapping) else None) is None:
        raise ModelError(f"{name}: a TopK SAE that does not say its k", "its cfg.json needs k")


def says_bos(about: Mapping[str, Any]) -> bool:
    """Whether a configuration states `prepend_bos`; SAELens adds it to older ones that do not."""
    metadata = about.get("metadata")
    return "prepend_bos" in about or (isinstance(metadata, Mapping) and "prepend_bos" in metadata)


FILES = ("cfg.json", "sae_weights.safetensors", "sae.safetensors", "config.json", "ae.pt")
"""The files that are fetched from an SAE's folder in a Hugging Face repository."""

LONGEST = 255
"""Most characters of a folder's path in a repository: file systems have no longer names."""


def fetched(repository: str, sae_id: str) -> Path:
    """Fetch an SAE in a folder of a Hugging Face repository, `.` for its root; return the local directory."""
    from huggingface_hub import snapshot_download

    if not is_hub_id(repository):
        raise ModelError(f"{in_short(repository)}: no name that a repository can have", "check --sae-release")
    if ".." in Path(sae_id).parts or Path(sae_id).is_absolute() or not sae_id.isprintable() or len(sae_id) > LONGEST:
        raise UsageError(
            f"--sae-id {in_short(sae_id)} is no folder of {repository}", "name a folder, or . for the repository"
        )
    inside = PurePosixPath(sae_id)
    # sparsify stores the model and the dataset of its SAEs next to their folders.
    wanted = [*(str(inside / file) for file in FILES), str(inside.parent / "config.json")]
    hint = f"check the name, the connection, and that {sae_id} is a folder of the repository"
    with explained_sae(f"{repository}/{sae_id}", hint, of_hub=True):
        folder = Path(snapshot_download(repository, allow_patterns=wanted)) / sae_id
        if not folder.is_dir():
            raise FileNotFoundError(f"{repository} has no folder {sae_id} in the local cache or on the hub")
    return folder


def commit_of(repository: str) -> str | None:
    """The commit of a repository in the local cache; None where it is not there."""
    folder = cached(repository, None)
    return folder.name if folder is not None else None
