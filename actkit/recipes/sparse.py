"""What the recipes that store SAE features alone have in common: SAEs first, then the model as they want it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.backends import Description, describe, load
from actkit.backends.sae import Sae
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec
from actkit.pipeline.estimate import planned
from actkit.pipeline.extract import extract
from actkit.pipeline.place import check_out
from actkit.pipeline.recipe import Finished, OnProgress, Recipe
from actkit.recipes.saes import Found, load_saes


@dataclass(frozen=True)
class SparseSpec:
    """Which SAEs of which model, and where their features go: what every such command is asked for."""

    model: ModelSpec
    saes: Sequence[SaeSpec]
    output: OutputSpec
    batch: BatchSpec = field(default_factory=BatchSpec)


def run(
    spec: SparseSpec,
    make: Callable[[Description, Sequence[Sae], Found], Recipe],
    options: Mapping[str, Any],
    files: Mapping[str, str],
    on_progress: OnProgress,
) -> Finished:
    """Load the SAEs, then the model, then run. Whatever can be wrong is found before the model's weights are loaded."""
    check_out(spec.output.out, spec.output.overwrite, spec.output.resume)
    saes = load_saes(spec.saes, spec.model.device)
    description = describe(spec.model)
    recipe = make(description, saes, Found(saes, description))
    points = tuple(sorted({sae.hook_point for sae in saes}))
    if spec.output.plan_only:
        return planned(recipe, description, points, spec.batch, spec.output, on_progress)
    return extract(recipe, load(description, points), points, spec.batch, spec.output, options, files, on_progress)
