"""`run` makes a command's recipe from its specs and runs it, for the command line and for Python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from actkit.analysis.feature_logits import Unembedding, feature_logits
from actkit.backends import Description, Model, describe, load
from actkit.backends.saes.sae import Sae
from actkit.config import ReadSpec, SaeDtype, StoreDtype
from actkit.hooks import D_MODEL_WIDE, HookPoint
from actkit.pipeline.dry_run import planned
from actkit.pipeline.extract import extract
from actkit.pipeline.input.reader import versions_of
from actkit.pipeline.recipe import Finished, Job, Pooling, Recipe
from actkit.pipeline.reducers.activations import Reducer, TableSize, activations, vectors_stored
from actkit.pipeline.reducers.features import features_stored, top_features
from actkit.pipeline.reducers.pooled import pooled_activations, pooled_features, pooled_stored
from actkit.pipeline.resume.session import date_before
from actkit.pipeline.tokens.templates import DatedTokenizer, date_of
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.asked import options_of, source_of
from actkit.recipes.saes import SaeReport, as_trained, load_saes
from actkit.recipes.specs import CommonSpec, DenseSpec, OwnSpec, checked
from actkit.runs.facts import config_text
from actkit.runs.progress import OnProgress, check_callable
from actkit.runs.reader import features_seen
from actkit.runs.removal import check_out
from actkit.runs.writer import Groups, groups_of
from actkit.verify.recompute.while_running import Verifying


@dataclass(frozen=True)
class Ingredients:
    """The parts that make a recipe, together with its command's spec."""

    tokenizer: Tokenizer
    context_length: int | None
    """Tokens of the model's context; None where it has no limit."""
    saes: Sequence[Sae]
    report: SaeReport
    reducers: Mapping[str, Reducer] = field(default_factory=dict)
    """Table → the reducer that stores whole activations in it; empty for commands that store SAE features alone."""
    points: Sequence[HookPoint] = ()
    """The hook points that are stored whole."""
    top_k: int | None = None
    """Most features of a position, where whole activations are stored too; None keeps all."""
    d_model: int = 0


def ingredients(
    description: Description,
    saes: Sequence[Sae] = (),
    points: Sequence[HookPoint] = (),
    store_dtype: StoreDtype = "float32",
    sae_dtype: SaeDtype = "float32",
) -> Ingredients:
    """Make the ingredients for a model as it is described. `points` are the hook points that are stored whole."""
    store = activations(points, _width(points, description), store_dtype)
    return Ingredients(
        description.tokenizer,
        description.context_length,
        saes,
        SaeReport(saes, description, sae_dtype),
        {"activations": store} if points else {},
        points,
        d_model=description.d_model,
    )


Own = TypeVar("Own", bound=OwnSpec)


def run(
    own: Own,
    common: CommonSpec,
    recipe_of: Callable[[Own, Ingredients], Recipe],
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Make the recipe of a command and run it; with `output.resume`, compute the shards that are missing.

    Errors in options and input are found before the model's weights are loaded: see `extract`, `load_saes` and
    `recipe_of`.
    """
    check_callable(on_progress)
    own, common = checked(own), checked(common)
    output = common.output
    check_out(output.out, output.overwrite, output.resume)
    made = recipe_for(own, common, recipe_of)
    if output.plan_only:
        return planned(made.recipe, made.description, made.hook_points, common.batch, output, on_progress)
    model = load(made.description, made.hook_points)
    recipe = made.recipe if isinstance(common, DenseSpec) else with_logits(made.recipe, model, made.saes)
    files = {"config.yaml": config_text(own.command, made.options)}
    job = Job(recipe, model, made.hook_points, output, common.batch, made.options, files)
    return extract(job, on_progress, Verifying(job))


@dataclass(frozen=True)
class ForModel:
    """A command's recipe, with the model and the SAEs that its specs name."""

    recipe: Recipe
    description: Description
    saes: Sequence[Sae]
    hook_points: tuple[HookPoint, ...]
    """Every hook point that is read."""
    options: dict[str, Any]


def recipe_for(own: Own, common: CommonSpec, recipe_of: Callable[[Own, Ingredients], Recipe]) -> ForModel:
    """Make the recipe without loading the model's weights. Errors: see `run`."""
    output = common.output
    saes = load_saes(common.saes, common.model.device, common.sae_dtype)
    description = describe(common.model)
    points = common.points(description.n_layers)
    given = own.tokens.date or date_before(output)
    tokenizer = DatedTokenizer(description.tokenizer, date_of(given))
    description = replace(description, tokenizer=tokenizer)
    if given is not None or tokenizer.reads_clock:
        own = replace(own, tokens=replace(own.tokens, date=tokenizer.date))
    asked = options_of(own, common)
    own = replace(own, tokens=as_trained(own.tokens, saes, tokenizer))
    made = ingredients(description, saes, points, output.store_dtype, common.sae_dtype)
    recipe = recipe_of(own, replace(made, top_k=common.top_k) if isinstance(common, DenseSpec) else made)
    source = source_of(own)
    versions = [] if source is None else versions_of(source, getattr(own, "read", ReadSpec()))
    recipe = with_origin(replace(recipe, exports=own.exports), versions, description.doubts)
    if points:
        stored = {"activations": vectors_stored(points, _width(points, description), output.store_dtype)}
        recipe = replace(recipe, stored={**stored, **recipe.stored})
    every = tuple(sorted({*points, *(sae.hook_point for sae in saes)}))
    return ForModel(recipe, description, saes, every, asked)


def with_features(recipe: Recipe, made: Ingredients, threshold: float = 0.0) -> Recipe:
    """Add a table to the recipe, where there are SAEs: the features above `threshold` of each kept position."""
    reducer = top_features(made.saes, made.top_k, threshold, made.report.health)
    stored = {"features": features_stored(made.saes, made.top_k)}
    return _of_saes(recipe, made, {"features": reducer}, stored, top_k=made.top_k, threshold=threshold)


def with_pooled(recipe: Recipe, made: Ingredients, pooling: Pooling) -> Recipe:
    """Add two tables to the recipe, where there are SAEs: each text's features and vectors, pooled, for tests."""
    points = sorted({sae.hook_point for sae in made.saes})
    reducers = {
        "pooled_features": pooled_features(made.saes, pooling.pool, made.report.health, pooling.special),
        "pooled_activations": pooled_activations(points, pooling.pool, pooling.special),
    }
    return _of_saes(recipe, made, reducers, pooled_stored(made.saes), pooling=pooling)


def _of_saes(
    recipe: Recipe, made: Ingredients, reducers: Mapping[str, Reducer], stored: Mapping[str, TableSize], **rules: Any
) -> Recipe:
    """Add these tables of SAE features to the recipe, and the SAEs' report at the end of its facts."""
    if not made.saes:
        return recipe
    return replace(
        recipe,
        reducers={**recipe.reducers, **reducers},
        stored={**recipe.stored, **stored},
        rules=replace(recipe.rules, **rules),
        found=lambda: {**recipe.found(), **made.report()},
        health=made.report.health,
    )


def with_origin(recipe: Recipe, versions: Sequence[Mapping[str, Any]], doubts: Sequence[str]) -> Recipe:
    """Return the recipe with facts that name the `versions` of a remote input and warn of `doubts` about the model."""

    def found() -> Mapping[str, Any]:
        facts = {**recipe.found(), **({"read_from": versions} if versions else {})}
        return facts | ({"warnings": [*doubts, *facts.get("warnings", ())]} if doubts else {})

    return replace(recipe, found=found)


def _width(points: Sequence[HookPoint], description: Description) -> int | None:
    """Return the width of all these hook points' vectors; None where it may differ."""
    names = {point.name for point in points}
    if names <= set(D_MODEL_WIDE):
        return description.d_model
    config = description.config.get_text_config()
    if names == {"attn.hook_z"} and getattr(config, "head_dim", None):
        return int(config.num_attention_heads * config.head_dim)
    return None


MOST_CPU, MOST_GPU = 4e12, 1e15
"""Multiplications above which `feature_logits` is left out: half a minute on two cores, seconds on a GPU."""


def with_logits(recipe: Recipe, model: Model, saes: Sequence[Sae]) -> Recipe:
    """Return the recipe with the table `feature_logits` of the SAEs that can have one.

    `run.json` gets each SAE's number of active features, and why an SAE is left out. Features that `finish` yields
    with their positions are not read from the run again.
    """
    left_out: dict[str, str] = {}
    counts: dict[str, int] = {}

    def finish(run: Path) -> Iterator[tuple[str, pa.Table | Groups]]:
        seen: dict[str, set[int]] = {sae.name: set() for sae in saes}
        for name, made in recipe.finish(run):
            if name == "feature_positions":  # which has every feature that is active anywhere
                for rows in groups_of(name, made).values():
                    for sae in pc.unique(rows["sae"]).to_pylist():
                        seen[sae].update(pc.unique(rows["feature_id"]).to_pylist())
            yield name, made
        head, tokens = model.unembedding(), None
        for each in saes:
            active = sorted(seen[each.name] or features_seen(run, each.name, each.d_sae))
            why = _why_left_out(each, len(active), head)
            if why is not None:
                left_out[each.name] = why
                continue
            counts[each.name] = len(active)
            assert head is not None
            tokens = tokens or Unembedding.of(head, model.description.tokenizer)
            for table in feature_logits(each, np.array(active, dtype=np.int64), tokens):
                yield "feature_logits", table

    def found() -> Mapping[str, Any]:
        about = {"feature_logits_of": dict(counts), "feature_logits_left_out": dict(left_out)}
        return {**recipe.found(), **{name: of for name, of in about.items() if of}}

    return replace(recipe, finish=finish, found=found)


def _why_left_out(sae: Sae, n_features: int, head: torch.Tensor | None) -> str | None:
    """Say why an SAE has no `feature_logits`; None where it has them."""
    if head is None:
        return "the model has no output layer that can be read"
    if sae.decoder is None or not str(sae.hook_point).endswith(("resid_pre", "resid_mid", "resid_post", "_out")):
        return "its decoder does not write into the residual stream"
    if head.shape[1] != sae.d_in:
        return f"the output layer reads {head.shape[1]} numbers, its decoder writes {sae.d_in}"
    multiplications = 2.0 * n_features * head.numel()
    if multiplications > (MOST_CPU if head.device.type == "cpu" else MOST_GPU):
        return f"{multiplications:.0e} multiplications are too many for this device"
    return None
