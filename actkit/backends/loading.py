"""`describe` resolves a model's name; `load` loads its weights, plainly or through TransformerLens's bridge."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actkit.backends import hugging_face, placement, repository, transformer_lens, transformer_lens_models
from actkit.backends.load_errors import explained
from actkit.backends.model import Description, Model
from actkit.backends.model_files import AGAIN, check_files, count_of, settings
from actkit.backends.names import check_name, is_directory
from actkit.backends.sites import nearest
from actkit.backends.transformer_lens import block_sites
from actkit.backends.transformer_lens_models import (
    TransformerLensModel,
    check_hook_points,
    config_of,
    is_of_transformer_lens,
)
from actkit.config import Attention, ModelSpec
from actkit.errors import ModelError, UsageError, in_short
from actkit.hooks import HookPoint

BACKENDS = ("transformers",)
"""The engines that can run a model; `describe` and `load` choose by `ModelSpec.backend`."""
MOST, MOST_TOKENS = {"num_hidden_layers": 4096, "hidden_size": 1 << 20}, 1 << 24
"""Largest sizes that a configuration may state; otherwise a wrong number would take time and memory without end."""
DOCUMENTS = ("processor_config.json", "chat_template.json")
"""Files with a processor's chat template, in the order in which transformers reads them. `chat_template.jinja` is not
among them: the tokenizer has that too."""


def describe(spec: ModelSpec) -> Description:
    """Resolve a model's name, device and dtype, and read its configuration and tokenizer.

    Raises ModelError with a hint for a name that is unknown, gated or offline, and for damaged files; UsageError for an
    unknown backend, for a device, a placement or a quantization that is not possible here, and for a revision of a
    model that has none.
    """
    if spec.backend not in BACKENDS:
        raise UsageError(f"backend {spec.backend!r} is not known", f"there is {', '.join(BACKENDS)}")
    if spec.loaded is not None:
        return _in_memory(spec)
    placement.check_placement(spec)
    location = repository.locate(spec.name)
    check_name(location, spec)
    device = placement.resolve_device("cpu" if spec.device_map == "cpu" else spec.device)
    spec = replace(spec, device=str(device), dtype=placement.resolve_dtype(spec.dtype, device))
    config, tokenizer = repository.read_config(location, spec), repository.read_tokenizer(location, spec)
    spec = replace(spec, attn=placement.resolve_attn(spec.attn, config))
    doubts = with_processors_template(tokenizer, config, location, spec)
    found = _described(spec, location, repository.revision_of(location, spec), config, tokenizer)
    return replace(found, doubts=doubts)


def _in_memory(spec: ModelSpec) -> Description:
    """Describe a model that the caller has loaded, with its own device, dtype and attention."""
    assert spec.loaded is not None
    module, tokenizer = spec.loaded
    tokenizer = repository.checked(tokenizer, spec.name)
    if is_of_transformer_lens(module):
        config, weights = config_of(module), next(module.parameters())
        dtype, device, is_eager = weights.dtype, str(weights.device), True
    else:
        config, dtype, device = module.config, module.dtype, placement.input_device(module)
        is_eager = getattr(config, "_attn_implementation", "sdpa") == "eager"
    attn: Attention = "eager" if is_eager else "sdpa"
    spec = replace(spec, device=device, dtype=str(dtype).removeprefix("torch."), attn=attn)
    return _described(spec, str(getattr(config, "_name_or_path", spec.name)), spec.revision, config, tokenizer)


def _described(spec: ModelSpec, location: str, revision: str | None, config: Any, tokenizer: Any) -> Description:
    text = config.get_text_config()
    sizes = {key: getattr(text, key, None) for key in ("num_hidden_layers", "hidden_size", "vocab_size")}
    layers, width = (count_of(sizes, key, spec.name, most) for key, most in MOST.items())
    made = config.architectures
    if made is not None and not (isinstance(made, list) and all(isinstance(text, str) for text in made)):
        says = in_short(repr(made))
        raise ModelError(
            f"{in_short(spec.name)}: its configuration says architectures {says}", "that is a list of names"
        )
    if sizes["vocab_size"] is not None:
        count_of(sizes, "vocab_size", spec.name, MOST_TOKENS)
    return Description(
        spec=spec,
        location=location,
        revision=revision,
        config=config,
        tokenizer=tokenizer,
        n_layers=layers,
        d_model=width,
        context_length=repository.context_of(text),
    )


def load(description: Description, hook_points: Sequence[HookPoint]) -> Model:
    """Load the weights for reading `hook_points`.

    Hook points that are a module's input or output are read from the Hugging Face model itself. If any is not (an
    attention pattern), all are read through TransformerLens's bridge, which computes attention step by step.

    Raises ModelError for a hook point that the architecture does not have, before reading weights; UsageError where
    the bridge is needed and the model is quantized or placed on several devices.
    """
    if description.spec.loaded is not None and is_of_transformer_lens(description.spec.loaded[0]):
        module = description.spec.loaded[0].eval()
        check_hook_points(module, [str(point) for point in hook_points])
        return TransformerLensModel(description, module)
    sites = block_sites(description.config, description.architecture)
    missing = [point for point in hook_points if point.name not in sites]
    if not missing:
        found = {str(point): sites[point.name].of_layer(point.layer) for point in hook_points}
        return hugging_face.load(description, found, n_layers=max(point.layer for point in hook_points) + 1)
    if description.spec.loaded is not None:
        raise ModelError(
            f"{missing[0]} is computed by TransformerLens's bridge, which loads the model itself", "give its name"
        )
    if placement.placed(description.spec):
        raise UsageError(
            f"{missing[0]} is computed by TransformerLens's bridge, which takes a model on one device, not quantized",
            "leave out --device-map and --quantize, or read another hook point",
        )
    has = transformer_lens.hook_names(description)
    for point in missing:
        if point.name.endswith(transformer_lens.SWITCHED_OFF):
            raise ModelError(
                f"{point} is computed by TransformerLens only where it is switched on, which actkit does not do",
                "attn.hook_result is attn.hook_z, head by head, times the output projection; the others are copies of "
                "hook_resid_pre and hook_resid_mid",
            )
        if point.name not in has:
            raise ModelError(
                f"{description.spec.name} ({description.architecture}) has no hook point {point}",
                f"the nearest are {', '.join(nearest(point, has))}",
            )
    return transformer_lens_models.load(description)


def with_processors_template(tokenizer: Any, config: Any, location: str, spec: ModelSpec) -> tuple[str, ...]:
    """Give a tokenizer without a chat template the processor's; return a warning where the two differ.

    The hub is asked for the processor's files only where the tokenizer has no template, or where the model has parts
    besides its text model. Raises ModelError for a template that is no text.
    """
    local = is_directory(location)
    if not local and tokenizer.chat_template and config.get_text_config() is config:
        return ()
    for name in DOCUMENTS:
        path = Path(location, name) if local else _of_hub(location, name, spec)
        found = settings(path, spec.name).get("chat_template") if path is not None and path.is_file() else None
        if found is None:
            continue
        named = found if isinstance(found, Mapping) else {"default": found}
        if not all(isinstance(template, str) for template in named.values()):
            raise ModelError(f"{spec.name}: {name} is damaged (its chat_template is no text)", AGAIN)
        if not tokenizer.chat_template:
            tokenizer.chat_template = found
        elif tokenizer.chat_template != found:
            said = f"its processor's chat template ({name}) is another than its tokenizer's, which is the one used"
            return (f"{spec.name}: {said}",)
        break
    return ()


def _of_hub(location: str, name: str, spec: ModelSpec) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with explained(spec, "chat template"):
        try:
            path = Path(hf_hub_download(location, name, revision=spec.revision))
        except EntryNotFoundError:  # the repository has none; or the hub cannot be reached and the cache has none
            return None
    check_files(path.parent, spec.name)
    return path
