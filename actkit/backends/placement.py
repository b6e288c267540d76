"""Choose where a model runs: resolve `auto`; place weights on one device or several; offload and quantize them.

accelerate moves a module's inputs to its weights, so a batch may start on any device.
"""

import importlib.util
import shutil
import tempfile
import weakref
from collections.abc import Callable
from typing import Any, get_args

import torch

from actkit.config import Attention, DeviceMap, ModelSpec, Quantize
from actkit.errors import UsageError, first_line, pip_install


def resolve_device(device: str) -> torch.device:
    """Resolve `auto` to CUDA, else MPS, else the CPU. Raises UsageError for a device that is not there."""
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
    return first_line(error)


def _instead(device: str) -> str:
    if device.startswith("cuda") and torch.version.cuda is None:
        return (
            f"--device cpu or auto; for a GPU install torch's CUDA build: {pip_install('--force-reinstall torch')} on "
            "Linux, elsewhere the line that pytorch.org/get-started has for your system"
        )
    return "use auto, cpu, cuda, cuda:1 or mps"


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """Resolve `auto` to bfloat16 on a GPU that computes in it, else float32. Raises UsageError for an unknown dtype."""
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
    """Resolve `auto` to sdpa where Hugging Face has it for the architecture, else eager.

    Raises UsageError for an implementation that computes this architecture wrongly.
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


DEVICE_MAPS, BITS = get_args(DeviceMap), get_args(Quantize)


def check_placement(spec: ModelSpec) -> None:
    """Raise UsageError, with a hint, for a placement or a quantization that is not possible on this machine."""
    if spec.device_map not in (None, *DEVICE_MAPS):
        raise UsageError(f"--device-map {spec.device_map} is not known", f"use {', '.join(DEVICE_MAPS)}")
    if spec.quantize not in (None, *BITS):
        raise UsageError(f"--quantize {spec.quantize} is not known", f"use {' or '.join(BITS)}")
    if spec.device_map is not None and spec.device != "auto" and spec.device != spec.device_map:
        raise UsageError(
            f"--device {spec.device} and --device-map {spec.device_map} contradict each other",
            "leave out --device: the map says where the weights go",
        )
    if spec.quantize is None:
        return
    if spec.device_map == "cpu" or not torch.cuda.is_available() or spec.device.startswith(("cpu", "mps")):
        raise UsageError(
            f"--quantize {spec.quantize} needs a GPU that CUDA reaches", "leave it out, or use --dtype bfloat16"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(f"--quantize {spec.quantize} needs bitsandbytes", pip_install("'actkit[quantize]'"))


def placed(spec: ModelSpec) -> bool:
    """Whether `transformers` places or quantizes the weights, so that they must not be moved afterwards."""
    return spec.device_map is not None or spec.quantize is not None


def arguments(spec: ModelSpec) -> dict[str, Any]:
    """Arguments of `from_pretrained` for the device and the bits of the weights.

    With a device, `from_pretrained` reads each tensor from its file straight to that device. Otherwise the whole model
    would be in the CPU's memory before it is moved.
    """
    found: dict[str, Any] = {}
    if spec.device != "cpu":
        found["device_map"] = {"": spec.device}
    if spec.quantize is not None:
        from transformers import BitsAndBytesConfig

        found["quantization_config"] = (
            BitsAndBytesConfig(load_in_8bit=True)
            if spec.quantize == "8bit"
            else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=getattr(torch, spec.dtype))
        )
    if spec.device_map is not None:
        found["device_map"] = {"": "cpu"} if spec.device_map == "cpu" else spec.device_map
    return found


def input_device(module: torch.nn.Module) -> str:
    """The device for the batches: the one that holds all weights, or else the CPU.

    accelerate moves a batch on from the CPU, and indices on the CPU fit tensors of any device.
    """
    places = set(getattr(module, "hf_device_map", {}).values())
    if len(places) > 1 or "disk" in places:
        return "cpu"
    return str(next(module.parameters()).device)


def offloading(spec: ModelSpec, load: Callable[..., tuple[Any, Any]]) -> tuple[Any, Any]:
    """Call `load` with `arguments`; return its result, a module and facts. Weights that fit no device go to a folder.

    The folder is removed with the module, or at once where loading fails.
    """
    told = arguments(spec)
    if spec.device_map is None:
        return load(**told)
    folder = tempfile.mkdtemp(prefix="actkit-offload-")
    try:
        module, about = load(**told, offload_folder=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(module, shutil.rmtree, folder, ignore_errors=True)
    return module, about
