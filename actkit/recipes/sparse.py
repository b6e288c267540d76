"""What the recipes that store SAE features alone have in common: SAEs first, then the model as they want it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.backends import Description, describe, load
from actkit.backends.saes.sae import Sae
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec
from actkit.pipeline.dry_run.estimate import planned
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Recipe
from actkit.recipes.saes import SaeReport, load_saes
from actkit.runs.progress import OnProgress
from actkit.runs.removal import check_out
from actkit.verify.recompute.while_running import Verifying


@dataclass(frozen=True)
class SparseSpec:
    """Which SAEs of which model, and where their features go: what every such command is asked for."""

    model: ModelSpec
    saes: Sequence[SaeSpec]
    output: OutputSpec
    batch: BatchSpec = field(default_factory=BatchSpec)


def run(
    spec: SparseSpec,
    make: Callable[[Description, Sequence[Sae], SaeReport], Recipe],
    options: Mapping[str, Any],
    files: Mapping[str, str],
    on_progress: OnProgress,
) -> Finished:
    """Load the SAEs, then the model, then run. Whatever can be wrong is found before the model's weights are loaded."""
    check_out(spec.output.out, spec.output.overwrite, spec.output.resume)
    saes = load_saes(spec.saes, spec.model.device)
    description = describe(spec.model)
    recipe = make(description, saes, SaeReport(saes, description))
    points = tuple(sorted({sae.hook_point for sae in saes}))
    if spec.output.plan_only:
        return planned(recipe, description, points, spec.batch, spec.output, on_progress)
    model = load(description, points)
    check = Verifying(recipe, model, options, spec.output)
    return extract(recipe, model, points, spec.batch, spec.output, options, files, on_progress, check)
