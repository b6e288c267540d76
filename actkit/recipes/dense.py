"""What the recipes that store whole activations have in common: from a model's name to a finished run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.backends import Description, describe, load
from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.hooks import D_MODEL_WIDE, HookPoint, parse_hook_points
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, OnProgress, Recipe
from actkit.pipeline.reduce import Reducer, activations
from actkit.pipeline.sink import check_out
from actkit.pipeline.tokenize import Tokenizer


@dataclass(frozen=True)
class DenseSpec:
    """Which activations of which model, and where they go: what every such command is asked for."""

    model: ModelSpec
    output: OutputSpec
    layers: str = "all"
    """As `--layers`: all, recommended, 4,8,-1, 10-15 or 45%-85%."""
    hook_points: Sequence[str] = ("hook_resid_post",)
    """Names without a layer are taken at all of `layers`."""
    batch: BatchSpec = field(default_factory=BatchSpec)


def run(
    spec: DenseSpec,
    make: Callable[[Tokenizer, int | None, Reducer], Recipe],
    options: Mapping[str, Any],
    files: Mapping[str, str],
    on_progress: OnProgress,
) -> Finished:
    """Make the recipe (of tokenizer, context length and reducer) and run it.

    Whatever can be wrong with options or input is found before weights are loaded.
    """
    description = describe(spec.model)
    points = parse_hook_points(spec.hook_points, spec.layers, description.n_layers)
    reducer = activations(points, _width(points, description), spec.output.store_dtype)
    recipe = make(description.tokenizer, description.context_length, reducer)
    check_out(spec.output.out, spec.output.overwrite)
    model = load(description, points)
    return extract(recipe, model, points, spec.batch, spec.output, options, files, on_progress)


def _width(points: Sequence[HookPoint], description: Description) -> int | None:
    """The one width of all these hook points' vectors; None where they may differ."""
    names = {point.name for point in points}
    if names <= set(D_MODEL_WIDE):
        return description.d_model
    config = description.config.get_text_config()
    if names == {"attn.hook_z"} and getattr(config, "head_dim", None):
        return int(config.num_attention_heads * config.head_dim)
    return None
