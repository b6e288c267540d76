"""A model for several calls: loaded once, by name, or taken as the caller has it in memory."""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from actkit.backends import describe, load
from actkit.bundled import NAME
from actkit.config import Attention, DeviceMap, ModelSpec, Quantize, SaeSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import parse_hook_points

AnyModel: TypeAlias = str | Path | ModelSpec | tuple[Any, Any]
"""A name, a handle of `load_model`, or a `transformers` model with its tokenizer."""
Layers: TypeAlias = str | int | Sequence[int]
"""As `--layers`: all, recommended, 4,8,-1, 10-15, 45%-85%; or numbers."""
BLOCK = re.compile(r"[\w.]+\.\d+(\.\w+)*")


def load_model(
    model: AnyModel = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    layers: Layers | None = None,
    attn: Attention = "auto",
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    device_map: DeviceMap | None = None,
    quantize: Quantize | None = None,
) -> ModelSpec:
    """Load a model once, for any number of calls of the other functions.

    `model` is `tiny`, a Hugging Face id, a TransformerLens alias, a local directory, or a tuple of a `transformers`
    model and its tokenizer, which are used as they are. Of a name, `layers` are those that will be read: later blocks
    are then not loaded, where the architecture allows it. Layers count as in the whole model all the same.

    `dtype` is auto (bfloat16 on a GPU that computes in it, else float32), float32, bfloat16 or float16; `attn` auto,
    sdpa or eager. `device_map` (auto, balanced, sequential, cpu) spreads the weights over all devices, in place of
    `device`; `quantize` (8bit, 4bit) needs CUDA and bitsandbytes, and the numbers are then the quantized model's.
    `trust_remote_code` runs Python code of the model's repository, `allow_pickle` reads weights that are not in
    safetensors, tensors only.

    Raises ModelError for a name that is unknown or cannot be loaded, UsageError for a device, dtype or layer that is
    not there, for a revision of what has none, or options of loading for a model that is in memory.

        model = actkit.load_model("google/gemma-2-2b", layers="0-12")
        found = actkit.capture_activations(model, "The capital of France is", layers=12)
    """
    spec = model_spec(model)
    asked = ModelSpec(spec.name, revision, device, dtype, attn, trust_remote_code, allow_pickle, device_map, quantize)
    loaded = spec.loaded is not None
    if (loaded and layers is not None) or ((loaded or isinstance(model, ModelSpec)) and asked != ModelSpec(spec.name)):
        what = "is in memory already" if loaded else "is a ModelSpec, which says how it is loaded"
        raise UsageError(f"{spec.name} {what}", "give its name, or leave the other options out")
    if loaded:
        return spec
    spec = spec if isinstance(model, ModelSpec) else asked
    description = describe(spec)
    points = parse_hook_points(("hook_resid_post",), layers_text(layers), description.n_layers)
    module: Any = load(description, points).module
    _count_all_layers(module, description.config)
    # What a branch's name meant when it was loaded is what runs are to say.
    return replace(description.spec, revision=description.revision, loaded=(module, description.tokenizer))


def model_spec(model: AnyModel) -> ModelSpec:
    """What is meant by a model. Raises UsageError for what is no name, handle, or model with tokenizer."""
    if isinstance(model, ModelSpec):
        return model
    if isinstance(model, (str, Path)):
        return ModelSpec(str(model))
    if not isinstance(model, tuple) or len(model) != 2:
        raise UsageError(
            f"{type(model).__name__} is no model that can be used", "give a name, load_model(…), or (model, tokenizer)"
        )
    module, tokenizer = model
    if not hasattr(getattr(module, "config", None), "get_text_config"):
        raise UsageError(f"{type(module).__name__} is no model of transformers", "give (model, tokenizer), or a name")
    if not hasattr(tokenizer, "is_fast"):
        raise UsageError(f"{type(tokenizer).__name__} is no tokenizer of transformers", "give (model, tokenizer)")
    name = getattr(module.config, "_name_or_path", "") or type(module).__name__
    # SAEs are put where the specification says, which must be where the model is.
    return ModelSpec(name, device=str(module.device), loaded=(module, tokenizer))


def layers_text(layers: Layers | None) -> str:
    """Layers as `--layers` has them; None is all."""
    if layers is None:
        return "all"
    if isinstance(layers, str):
        return layers
    return ",".join(str(int(one)) for one in ([layers] if isinstance(layers, int) else layers))


@contextmanager
def in_use(spec: ModelSpec) -> Iterator[None]:
    """While a model that may be the caller's own is run: afterwards its modules are in training mode as before.

    Raises ModelError for a layer that was not loaded.
    """
    if spec.loaded is None:
        yield
        return
    modes = [(one, one.training) for one in spec.loaded[0].modules()]
    try:
        yield
    except KeyError as error:
        if error.args and isinstance(error.args[0], str) and BLOCK.fullmatch(error.args[0]):
            raise ModelError(
                f"{error.args[0]} of {spec.name} is not in memory", "load_model(…, layers=…) with all that is read"
            ) from error
        raise
    finally:
        for module, training in modes:
            module.training = training


def _count_all_layers(module: Any, whole: Any) -> None:
    """Let a model of which only the first blocks were loaded say how many layers there are, so that layers count so."""
    text, found = whole.get_text_config(), module.config.get_text_config()
    if found.num_hidden_layers == text.num_hidden_layers:
        return
    # A copy: the blocks that are there keep the configuration that they were made with.
    module.config = copy.deepcopy(module.config)
    own = module.config.get_text_config()
    own.num_hidden_layers = text.num_hidden_layers
    if getattr(text, "layer_types", None):
        own.layer_types = list(text.layer_types)


DEFAULT = "blocks.2.hook_resid_post"
"""The SAE of `tiny` where neither id nor layer is given."""


def sae_specs(
    model: str,
    release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    layer: int | None = None,
) -> list[SaeSpec]:
    """The SAEs of a release, directories in SAELens's format, or both; `tiny` has its own.

    Raises UsageError when none is meant, or an id without a release.
    """
    paths = [] if path is None else [path] if isinstance(path, (str, Path)) else list(path)
    chosen = [SaeSpec(path=str(one), layer=layer) for one in paths]
    if release is None and model == NAME and not chosen:
        release = NAME
    if release is None:
        if sae_id is not None:
            raise UsageError(f"SAE {sae_id} of which release?", "give sae_release")
        if not chosen:
            raise UsageError(f"no SAE given for {model}", "give sae_release and sae_id, or sae_path")
        return chosen
    default = DEFAULT if release == NAME and layer is None else None
    ids: Sequence[str | None] = [default] if sae_id is None else [sae_id] if isinstance(sae_id, str) else list(sae_id)
    return chosen + [SaeSpec(release, one, layer=layer) for one in ids]
