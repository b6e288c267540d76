"""`concept --from RUN`: directions of a finished run, fitted and chosen again with other settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actkit.backends.saes.sae import Sae
from actkit.config import OutputSpec
from actkit.errors import UsageError
from actkit.hooks import parse_hook_points
from actkit.pipeline.recipe import Finished
from actkit.recipes.concept import ConceptSpec, concept_run_tables, concept_statistics
from actkit.recipes.from_run import Again, check_changes, make_again, source_facts
from actkit.recipes.saes import load_saes
from actkit.runs.progress import OnProgress
from actkit.runs.reader import hook_points_of
from actkit.verify.recompute.run import sae_spec

CHANGED = ("layers", "hook_point", "seed", "directions")
"""Options that may differ from the source's."""
MADE = tuple("contrasts pair_stats directions direction_scores projections feature_scores direction_features".split())


def choose_again(
    source: Path, output: OutputSpec, changes: Mapping[str, Any], on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Make a run with the rows of `source`, and with directions by its options and these `changes` (option → value).

    Layers are some of the source's. Its SAEs are loaded, where it has any, for the features nearest to a direction.

    Raises UsageError for an option that needs the model or the texts again, and for layers that the source does not
    have; else see `make_again` and `load_saes`.
    """
    facts = source_facts(source, "concept")
    check_changes(changes, CHANGED, source, facts)
    options = {**facts["options"], **changes, "out": str(output.out)}
    saes = _saes(facts)
    spec = ConceptSpec(positions=options["positions"], seed=options["seed"], directions=options["directions"])
    report: dict[str, Any] = {}
    again = Again(
        MADE,
        lambda run: concept_run_tables(run, spec, saes, report),
        concept_statistics(spec, bool(saes)),
        lambda: {"concept": report},
    )
    if {"layers", "hook_point"} & changes.keys():
        again = replace(again, **_chosen_points(source, facts, options, saes))
    return make_again(source, output, options, again, on_progress)


def _chosen_points(
    source: Path, facts: Mapping[str, Any], options: Mapping[str, Any], saes: Sequence[Sae]
) -> dict[str, Any]:
    """The hook points that are wanted. Raises UsageError where the run does not have one."""
    stored = hook_points_of(source)
    points = parse_hook_points(
        options["hook_point"] or ["hook_resid_post"], options["layers"], facts["model"]["n_layers"]
    )
    missing = [str(point) for point in points if str(point) not in stored]
    if missing:
        raise UsageError(
            f"{source} has no activations of {', '.join(missing)}, and --from runs no model",
            f"it has {', '.join(stored)}; for other layers run the command without --from",
        )
    every = sorted({*points, *(sae.hook_point for sae in saes)})
    return {"points": {str(point) for point in points}, "facts": {"hook_points": [str(point) for point in every]}}


def _saes(facts: Mapping[str, Any]) -> list[Sae]:
    options = facts["options"]
    names = [about["name"] for about in facts.get("saes", ())]
    return load_saes([sae_spec(name, options.get("sae") or (), options.get("sae_release")) for name in names], "cpu")
