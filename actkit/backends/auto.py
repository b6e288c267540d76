"""Resolve `auto`: the device, the dtype and the attention implementation of this machine and this model."""

from typing import Any

import torch

from actkit.config import Attention
from actkit.errors import UsageError, pip_install


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises UsageError for a device that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {device}: {_why(device, error)}", _instead(device)) from error
    return found


def _why(device: str, error: Exception) -> str:
    if device.startswith("cuda") and torch.version.cuda is None and torch.version.hip is None:
        return f"this torch ({torch.__version__}) is built without CUDA"
    if isinstance(error, RuntimeError) and "device type at start" in str(error):
        return "there is no such device"
    return str(error).splitlines()[0]


def _instead(device: str) -> str:
    if device.startswith("cuda") and torch.version.cuda is None:
        return (
            f"--device cpu or auto; for a GPU install torch's CUDA build: {pip_install('--force-reinstall torch')} on "
            "Linux, elsewhere the line that pytorch.org/get-started has for your system"
        )
    return "use auto, cpu, cuda, cuda:1 or mps"


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
