"""`reward-detect --from RUN`: the pooled features of a finished run are ranked again with other settings."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, feature_tables
from actkit.config import OutputSpec
from actkit.errors import UsageError
from actkit.export.reward_features import reward_features
from actkit.pipeline.recipe import Finished
from actkit.recipes.from_run import Again, check_changes, make_again, source_facts
from actkit.recipes.specs import checked, spec_of
from actkit.remote.url import FEATURE_PAGES
from actkit.runs.progress import OnProgress

CHANGED = ("q", "held_out", "correlation_threshold", "strength_threshold", "seed", "listed", "draws", "null_draws")
"""Options that may differ from the source's."""


RENAMED = {"top_k": "listed", "activation_threshold": "strength_threshold"}
"""Names of options in runs of earlier versions."""


def rank_again(
    source: Path, output: OutputSpec, changes: Mapping[str, Any], on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Make a run with the rows of `source`, and with a ranking by its options and these `changes` (option → value).

    Raises UsageError for an option that needs the model or the texts again; else see `make_again`.
    """
    facts = source_facts(source, "reward-detect")
    facts["options"] = {RENAMED.get(name, name): value for name, value in facts["options"].items()}
    changes = {RENAMED.get(name, name): value for name, value in changes.items()}
    was = facts["options"]["pool"]
    if changes.get("pool", was) != was:
        raise UsageError(
            f"--pool {changes['pool']} needs the model again: {source} has each text's {was} of a feature, and not its "
            "tokens' values",
            f"run the command without --from, with --pool {changes['pool']}",
        )
    check_changes(changes, CHANGED, source, facts)
    options = {**facts["options"], **changes, "out": str(output.out)}
    settings = checked(spec_of(ScoreSettings, options))
    saes = [_scored(about) for about in facts["saes"]]
    report: dict[str, Any] = {}
    again = Again(
        ("feature_scores",),
        lambda run: feature_tables(run, saes, settings, report),
        {"feature_scores": asdict(settings)},
        lambda: {"scores": report},
        lambda run, made: {"reward_features.json": reward_features(run, made, options["listed"])},
    )
    return make_again(source, output, options, again, on_progress)


def _scored(about: Mapping[str, Any]) -> ScoredSae:
    """The entry of an SAE in `run.json`, as the statistics need it."""
    place = about.get("neuronpedia_id")

    def page(feature_id: int) -> str | None:
        return f"{FEATURE_PAGES}/{place}/{feature_id}" if place else None

    return ScoredSae(about["name"], about["d_sae"], about["hook_point"], page)
