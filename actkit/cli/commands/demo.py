"""`actkit demo`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from actkit.cli.options.groups import with_option_groups
from actkit.cli.screen.console import console
from actkit.cli.screen.progress import progress_shown


@with_option_groups
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs and their reports.")] = Path(
        "runs/first-look"
    ),
    max_samples: Annotated[int, typer.Option("--max-samples", min=24, help="Pairs, and texts, that are read.")] = 200,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the paths of the reports only.")] = False,
) -> None:
    """A first look, no file needed: a concept and features of feedback in the bundled model, with a report of each.

    Runs of an earlier demo in the same folder are replaced.

    Example: [b]actkit demo -o runs/first[/]
    """
    from actkit.bundled import NAME
    from actkit.config import ModelSpec, OutputSpec, SaeSpec
    from actkit.recipes.concept import ConceptSpec, run_concept
    from actkit.recipes.reward_detect import RewardDetectSpec, run_reward_detect
    from actkit.recipes.specs import DenseSpec, SparseSpec
    from actkit.report.write import write_report
    from actkit.runs.run import open_run

    model = ModelSpec(NAME)

    def output(name: str) -> OutputSpec:
        return OutputSpec(out / name, overwrite=True, max_records=max_samples)

    if not quiet:
        console().print("tiny is a toy: what follows shows the tool, and says nothing about real models.", markup=False)
    with progress_shown(quiet) as on_progress:
        concept = run_concept(
            ConceptSpec("honesty"), DenseSpec(model, output("concept"), layers="recommended"), on_progress
        )
    sae = SaeSpec(NAME, "blocks.2.hook_resid_post")
    with progress_shown(quiet) as on_progress:
        feedback = run_reward_detect(RewardDetectSpec(), SparseSpec(model, [sae], output("feedback")), on_progress)
    for finished in (concept, feedback):
        run = open_run(finished.path)
        page = finished.path.with_suffix(".html")
        write_report([run], page)
        if not quiet:
            console().print(verdict_of(run.facts), markup=False)
        sys.stdout.write(f"{page}\n")
    if not quiet:
        console().print(
            "Both are associations: actkit steer says whether they move what the model does. Open the pages in a "
            f"browser; actkit show {concept.path} prints a run.",
            markup=False,
        )


def verdict_of(facts: Mapping[str, Any]) -> str:
    """Say in a sentence what a run of the demo found, with its interval."""
    few = "Too few texts were read for held-out evidence: a larger --max-samples gives it."
    if "concept" in facts:
        report = facts["concept"]
        row = report.get("chosen", {}).get(report.get("method"))
        if not row or row["auroc_heldout"] is None:
            return few
        return (
            f"Honesty can be read at layer {row['layer']}: AUROC {row['auroc_heldout']:.2f} "
            f"({row['auroc_heldout_low']:.2f} to {row['auroc_heldout_high']:.2f}, 95 %) on {row['n_heldout']} pairs "
            f"that chose nothing, where exchanged sides give {row['shuffled_low']:.2f} to {row['shuffled_high']:.2f}; "
            f"length alone {row['auroc_length_only']:.2f}."
        )
    scores = facts["scores"]
    sae, found = scores["saes"][0], scores["found"]
    said = (
        f"{found['respond_to']['positive']} of {found['tested']:,} features respond to positive feedback beyond the "
        f"best that chance gives (AUROC {sae['largest_auroc_by_chance']['q95']:.2f})"
    )
    probe = sae.get("dense_probe")
    if probe is None:
        return f"{said}. {few}"
    return (
        f"{said}; a probe of the activations tells held-out texts apart with AUROC {probe['auroc']:.2f} "
        f"({probe['low']:.2f} to {probe['high']:.2f}, 95 %)."
    )
