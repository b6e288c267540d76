"""A model for several calls: loaded once, by name, or taken as the caller has it in memory."""

import copy
import operator
import re
import sys
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from actkit.backends import describe, load, weight_bytes
from actkit.backends.transformer_lens_models import is_of_transformer_lens
from actkit.bundled import NAME
from actkit.config import Attention, DeviceMap, ModelSpec, Quantize
from actkit.errors import ModelError, UsageError, in_short
from actkit.hooks import parse_hook_points

AnyModel: TypeAlias = Any
"""A name (str, Path), a handle of `load_model`, a `transformers` model alone or with its tokenizer (a tuple), or a
`HookedTransformer` or bridge of TransformerLens."""
Layers: TypeAlias = str | int | Sequence[int]
"""As `--layers`: all, recommended, 4,8,-1, 10-15, 45%-85%; or numbers."""
LIBRARIES = ("transformers", "accelerate", "torch", "transformer_lens")
"""Packages whose hooks are not the caller's."""
BLOCK = re.compile(r"[\w.]+\.\d+(\.\w+)*")
_LOADED: "weakref.WeakKeyDictionary[Any, tuple[ModelSpec, Any]]" = weakref.WeakKeyDictionary()
"""Module that `load_model` loaded → its spec, without the module, and its tokenizer: handed over again as
(model, tokenizer), it keeps its name."""


@dataclass(frozen=True)
class LoadedModel(ModelSpec):
    """A loaded model. Unpacked, it is the `transformers` model and its tokenizer."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loaded or ())

    def __len__(self) -> int:
        return 2


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
) -> LoadedModel:
    """Load a model once, for any number of calls of the other functions.

    Pass the result to them whole, or unpacked: `model, tokenizer = load_model(…)`.

    `model` is `tiny`, a Hugging Face id, a TransformerLens alias, a local directory, or a tuple of a `transformers`
    model and its tokenizer, which are used as they are. For a name, `layers` are those that will be read: later blocks
    are then not loaded, where the architecture allows it. Layers count as in the whole model all the same.

    `dtype` is auto (bfloat16 on a GPU that computes in it, else float32), float32, bfloat16 or float16; `attn` auto,
    sdpa or eager. `device_map` (auto, balanced, sequential, cpu) spreads the weights over all devices, in place of
    `device`; `quantize` (8bit, 4bit) needs CUDA and bitsandbytes, and the numbers are then the quantized model's.
    `trust_remote_code` runs Python code of the model's repository, `allow_pickle` reads weights that are not in
    safetensors, tensors only.

    Raises ModelError for a name that is unknown or cannot be loaded, UsageError for a device, dtype or layer that is
    not there, for a revision where there is none, or options of loading for a model that is in memory.

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
        return spec if isinstance(spec, LoadedModel) else LoadedModel(**vars(spec))
    spec = spec if isinstance(model, ModelSpec) else asked
    description = describe(spec)
    points = parse_hook_points(("hook_resid_post",), layers_text(layers), description.n_layers)
    of_transformers: Any = load(description, points)
    module = of_transformers.module
    _count_all_layers(module, description.config)
    # Runs must name the commit that a branch had when the model was loaded.
    spec = replace(description.spec, revision=description.revision)
    _LOADED[module] = spec, description.tokenizer
    return _handle(module)


def model_spec(model: AnyModel) -> ModelSpec:
    """Make a spec of a model in any of its forms. Raises UsageError for no name, handle, or model with tokenizer."""
    if isinstance(model, ModelSpec):
        return model
    if isinstance(model, (str, Path)):
        return ModelSpec(str(model))
    module, tokenizer = model if isinstance(model, (tuple, list)) and len(model) == 2 else (model, None)
    if is_of_transformer_lens(module):
        return _of_transformer_lens(module, tokenizer)
    if not hasattr(getattr(module, "config", None), "get_text_config"):
        raise UsageError(
            f"{type(module).__name__} is no model that can be used",
            "give a name, load_model(…), a transformers model with its tokenizer, or a model of TransformerLens",
        )
    if module in _LOADED and (tokenizer is None or tokenizer is _LOADED[module][1]):
        return _handle(module)
    name = getattr(module.config, "_name_or_path", "") or type(module).__name__
    if tokenizer is None:
        tokenizer = _tokenizer_of(module, name)
    if not is_tokenizer(tokenizer):
        raise UsageError(f"{type(tokenizer).__name__} is no tokenizer of transformers", "give (model, tokenizer)")
    # SAEs are put where the specification says, which must be where the model is.
    return ModelSpec(name, device=str(module.device), loaded=(module, tokenizer))


def _handle(module: Any) -> LoadedModel:
    spec, tokenizer = _LOADED[module]
    return LoadedModel(**vars(replace(spec, loaded=(module, tokenizer))))


def is_tokenizer(value: Any) -> bool:
    """Whether a value is a tokenizer of transformers."""
    return hasattr(value, "is_fast")


def model_and_texts(model: AnyModel, *given: Any) -> tuple[ModelSpec, list[Any]]:
    """Return the model, and the arguments behind it without a tokenizer that may come first.

    The older scripts pass `model, tokenizer, text`; a None at the end counts as not given. Raises what `model_spec`
    raises.
    """
    if given and is_tokenizer(given[0]):
        whole = model.loaded[0] if isinstance(model, ModelSpec) and model.loaded is not None else model
        return model_spec((whole, given[0])), list(given[1:])
    shifted = [each for each in given if each is not None]
    return model_spec(model), [*shifted, *[None] * (len(given) - 1 - len(shifted))]


def _of_transformer_lens(module: Any, tokenizer: Any) -> ModelSpec:
    tokenizer = tokenizer if tokenizer is not None else module.tokenizer
    if tokenizer is None:
        raise UsageError(f"{type(module).__name__} has no tokenizer", "give (model, tokenizer)")
    name = str(getattr(module.cfg, "model_name", None) or type(module).__name__)
    return ModelSpec(name, device=str(next(module.parameters()).device), loaded=(module, tokenizer))


def _tokenizer_of(module: Any, name: str) -> Any:
    """Load the tokenizer of a model given alone from the model's place. Raises UsageError where none is there."""
    try:
        return describe(ModelSpec(name)).tokenizer
    except (ModelError, UsageError) as error:
        raise UsageError(
            f"{type(module).__name__} came without its tokenizer, and {name} has none at hand",
            "give (model, tokenizer)",
        ) from error


def say_what_is_loaded(spec: ModelSpec) -> None:
    """Say on standard error which model is about to be loaded, and how large it is; nothing of the bundled one."""
    if spec.name == NAME or spec.loaded is not None:
        return
    description = describe(spec)
    size = weight_bytes(description, [])
    about = f", about {size / 1e9:.1f} GB of weights" if size else ""
    sys.stderr.write(f"actkit loads {spec.name} ({description.spec.dtype}{about})\n")


def layers_text(layers: Layers | None, what: str = "layers") -> str:
    """Write layers, or positions, as the command line has them; None is all. Raises UsageError for no whole number."""
    return "all" if layers is None else numbers_text(layers, what, "give whole numbers, or all")


def numbers_text(numbers: str | float | Sequence[float], what: str, hint: str, fractions: bool = False) -> str:
    """Write a number, or several with commas; a text stays. Raises UsageError for other values, with `hint`."""
    if isinstance(numbers, str):
        return numbers
    given: list[Any] = [numbers]
    try:
        if isinstance(numbers, Iterable) and getattr(numbers, "ndim", None) != 0:  # 0: an array that is a number
            given = list(numbers)
        if fractions:
            found = [f"{float(each):.12g}" for each in given]
        else:
            found = [str(int(each) if isinstance(each, str) else operator.index(each)) for each in given]
    except (TypeError, ValueError):
        found = []
    if not found or any(isinstance(each, bool) for each in given):
        raise UsageError(f"{what} {in_short(repr(numbers))} is not understood", hint)
    return ",".join(found)


@contextmanager
def in_use(spec: ModelSpec) -> Iterator[None]:
    """Run the body with a model that may be the caller's own; then its modules are in training mode as before.

    Warns of hooks on it. Raises ModelError for a layer that was not loaded.
    """
    if spec.loaded is None:
        yield
        return
    hooked = []
    for name, module in spec.loaded[0].named_modules():
        if any(map(_is_own, (*module._forward_pre_hooks.values(), *module._forward_hooks.values()))):
            hooked.append(name)
    if hooked:
        what = f"{hooked[0]} of {spec.name} has" if len(hooked) == 1 else f"{len(hooked)} modules of {spec.name} have"
        warnings.warn(f"{what} hooks of its own: what they change is in the numbers", stacklevel=4)
    modes = [(module, module.training) for module in spec.loaded[0].modules()]
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


def _is_own(hook: Any) -> bool:
    """Whether a hook is the caller's: transformers and others have some that change nothing."""
    return str(getattr(hook, "__module__", "")).partition(".")[0] not in LIBRARIES


def _count_all_layers(module: Any, whole: Any) -> None:
    """Set `num_hidden_layers` of a partly loaded model to the whole model's, so that `-1` and `45%` count them."""
    text, found = whole.get_text_config(), module.config.get_text_config()
    if found.num_hidden_layers == text.num_hidden_layers:
        return
    # A copy: the blocks that are there keep the configuration that they were made with.
    module.config = copy.deepcopy(module.config)
    own = module.config.get_text_config()
    own.num_hidden_layers = text.num_hidden_layers
    if getattr(text, "layer_types", None):
        own.layer_types = list(text.layer_types)
