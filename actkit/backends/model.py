"""The one seam to models: what a name stands for, and the choice between running it plainly or through the bridge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch

from actkit.backends import auto, hugging_face, placement, repository
from actkit.backends.names import check_name
from actkit.backends.sites import Site, block_sites, nearest
from actkit.config import Attention, ModelSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint

Tap: TypeAlias = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Description:
    """A model before its weights are loaded: enough to check every option against it."""

    spec: ModelSpec
    """With `device`, `dtype` and `attn` resolved and `name` as the user wrote it."""
    location: str
    """A local directory or a Hugging Face id."""
    revision: str | None
    """The hub's commit, or for a local directory a digest of its files."""
    config: Any
    tokenizer: Any
    n_layers: int
    d_model: int
    context_length: int | None
    """Most tokens of a sequence; None where the model has no fixed context."""

    @property
    def architecture(self) -> str:
        """The class name in `config.json`, for example LlamaForCausalLM."""
        return str((self.config.architectures or ["unknown"])[0])


class Model(Protocol):
    """A loaded model: runs a batch up to the last hook point that is wanted."""

    @property
    def description(self) -> Description:
        """What it was loaded from."""

    @property
    def module(self) -> torch.nn.Module:
        """The Hugging Face model, for comparison."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a row may be a tree, with a mask that says what attends to what."""

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, Tap]
    ) -> None:
        """Run `input_ids` [batch, column] and hand each hook point's tensor [batch, column, …] to its tap, once each.

        `tree` [batch, column, column] is true where a column may attend; None means each row is one sequence, padded
        on the right. Computation stops when the last tap has been served: no later block, no LM head.

        Raises ModelError when a hook point does not fire exactly once.
        """


def describe(spec: ModelSpec) -> Description:
    """Resolve a model's name, device and dtype, and read its configuration and tokenizer.

    Raises ModelError with a hint when the name is unknown, gated, offline or its files are damaged, or its weights are
    pickled and that is not allowed; UsageError for a device, a placement or a quantization that is not possible here,
    and for a revision of what has none.
    """
    if spec.loaded is not None:
        return _in_memory(spec)
    placement.check_placement(spec)
    location = repository.locate(spec.name)
    check_name(location, spec)
    device = auto.resolve_device("cpu" if spec.device_map == "cpu" else spec.device)
    spec = replace(spec, device=str(device), dtype=auto.resolve_dtype(spec.dtype, device))
    config, tokenizer = repository.read_config(location, spec), repository.read_tokenizer(location, spec)
    spec = replace(spec, attn=auto.resolve_attn(spec.attn, config))
    return _described(spec, location, repository.revision_of(location, spec), config, tokenizer)


def _in_memory(spec: ModelSpec) -> Description:
    """A model that the caller has loaded: where it is and how it computes is its own affair."""
    assert spec.loaded is not None
    module, tokenizer = spec.loaded
    tokenizer = repository.checked(tokenizer, spec.name)
    attn: Attention = "eager" if getattr(module.config, "_attn_implementation", "sdpa") == "eager" else "sdpa"
    dtype = str(module.dtype).removeprefix("torch.")
    spec = replace(spec, device=placement.input_device(module), dtype=dtype, attn=attn)
    location = str(getattr(module.config, "_name_or_path", spec.name))
    return _described(spec, location, spec.revision, module.config, tokenizer)


def _described(spec: ModelSpec, location: str, revision: str | None, config: Any, tokenizer: Any) -> Description:
    text = config.get_text_config()
    return Description(
        spec=spec,
        location=location,
        revision=revision,
        config=config,
        tokenizer=tokenizer,
        n_layers=text.num_hidden_layers,
        d_model=text.hidden_size,
        context_length=repository.context_of(text),
    )


def load(description: Description, hook_points: Sequence[HookPoint]) -> Model:
    """Load the weights for reading `hook_points`.

    Hook points that are some module's input or output are read off the Hugging Face model itself. If any is not (an
    attention pattern), everything is read through TransformerLens's bridge, which computes attention step by step.

    Raises ModelError for a hook point that the architecture does not have, before any weight is read.
    """
    sites = block_sites(description.config, description.architecture)
    found: dict[str, Site] = {}
    for point in hook_points:
        site = sites.get(point.name)
        if site is not None:
            found[str(point)] = replace(site, path=site.path.format(layer=point.layer))
    missing = [point for point in hook_points if str(point) not in found]
    if not missing:
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
    from actkit.backends import bridged, transformer_lens

    has = transformer_lens.hook_names(description)
    for point in missing:
        if point.name not in has:
            raise ModelError(
                f"{description.spec.name} ({description.architecture}) has no hook point {point}",
                f"the nearest are {', '.join(nearest(point, has))}",
            )
    return bridged.load(description)
