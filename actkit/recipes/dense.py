"""What the recipes that store whole activations have in common: from a model's name to a finished run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actkit.backends import Description, describe, load
from actkit.backends.saes.sae import Sae
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec
from actkit.hooks import D_MODEL_WIDE, HookPoint, parse_hook_points
from actkit.pipeline.dry_run.estimate import planned
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Recipe
from actkit.pipeline.reducers.activations import Reducer, activations
from actkit.pipeline.reducers.features import top_features
from actkit.pipeline.reducers.table_sizes import features_stored, vectors_stored
from actkit.recipes.saes import SaeReport, load_saes
from actkit.runs.progress import OnProgress
from actkit.runs.removal import check_out
from actkit.verify.recompute.while_running import Verifying


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
    saes: Sequence[SaeSpec] = ()
    """SAEs whose largest features are stored beside the activations."""
    top_k: int | None = 50


def run(
    spec: DenseSpec,
    make: Callable[[Description, Sequence[Sae], SaeReport, Reducer], Recipe],
    options: Mapping[str, Any],
    files: Mapping[str, str],
    on_progress: OnProgress,
) -> Finished:
    """Make the recipe and run it.

    Whatever can be wrong with options or input is found before the model's weights are loaded.
    """
    saes = load_saes(spec.saes, spec.model.device)
    description = describe(spec.model)
    found = SaeReport(saes, description)
    points = parse_hook_points(spec.hook_points, spec.layers, description.n_layers)
    width = _width(points, description)
    reducer = activations(points, width, spec.output.store_dtype)
    recipe = make(description, saes, found, reducer)
    stored = {"activations": vectors_stored(points, width, spec.output.store_dtype)}
    recipe = replace(recipe, stored={**stored, **recipe.stored})
    check_out(spec.output.out, spec.output.overwrite, spec.output.resume)
    every = tuple(sorted({*points, *(sae.hook_point for sae in saes)}))
    if spec.output.plan_only:
        return planned(recipe, description, every, spec.batch, spec.output, on_progress)
    model = load(description, every)
    check = Verifying(recipe, model, options, spec.output)
    return extract(recipe, model, every, spec.batch, spec.output, options, files, on_progress, check)


def with_features(recipe: Recipe, saes: Sequence[Sae], top_k: int | None, found: SaeReport) -> Recipe:
    """The recipe with one more table, where there are SAEs: the largest features of each position that is kept."""
    if not saes:
        return recipe
    features = top_features(saes, top_k, 0.0, found.health)
    stored = {**recipe.stored, "features": features_stored(saes, top_k)}
    return replace(
        recipe,
        reducers={**recipe.reducers, "features": features},
        stored=stored,
        found=found,
        health=found.health,
    )


def _width(points: Sequence[HookPoint], description: Description) -> int | None:
    """The one width of all these hook points' vectors; None where they may differ."""
    names = {point.name for point in points}
    if names <= set(D_MODEL_WIDE):
        return description.d_model
    config = description.config.get_text_config()
    if names == {"attn.hook_z"} and getattr(config, "head_dim", None):
        return int(config.num_attention_heads * config.head_dim)
    return None
