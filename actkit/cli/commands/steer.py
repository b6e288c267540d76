"""`actkit steer`."""

from pathlib import Path
from typing import Annotated

from actkit.cli.options.further import Follow
from actkit.cli.options.groups import READ, argument, at_home, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_command import hand_over, run_command
from actkit.cli.screen.console import starting
from actkit.config import SteerPositions

DO, TEST = "What is done", "How it is measured"
OF_BOTH = ("device", "batch_tokens", "overwrite", "resume", "shard", "engine", "workers", "quiet")
"""Options of a run that hold for the measurement of its effects too."""


@with_option_groups
def steer(
    follow: Follow,
    run: Annotated[str, argument("RUN", "A finished run of concept or reward-detect.")],
    do: Annotated[
        str | None, option(DO, "add or project-out for directions; zero, clamp, clamp:VALUE or add for features.")
    ] = None,
    method: Annotated[
        list[str] | None, option(DO, "Directions by mean-diff, pca or logistic; may be repeated, at one norm.")
    ] = None,
    layers: Annotated[
        str | None, option(DO, "Of the run's, as 11-19 or 15; three in the middle by default.", "-l")
    ] = None,
    strengths: Annotated[
        str | None,
        option(DO, "In units of the difference measured at the layer, as --strengths=-4,-2,-1,1,2,4, the default."),
    ] = None,
    every_layer: Annotated[bool, option(DO, "Project out at all of the run's layers at once.")] = False,
    features: Annotated[str | None, option(DO, "top:10, bottom:10 (by AUROC) or ids as 12,407.")] = None,
    each: Annotated[bool, option(DO, "Features one by one, not as a set.")] = False,
    sae_name: Annotated[str | None, option(DO, "Whose features, where the run has several SAEs.")] = None,
    positions: Annotated[
        SteerPositions, option(DO, "Where it acts; the first token and special ones never are.")
    ] = "all",
    answers: Annotated[
        str | None,
        option(
            READ,
            "File of prompt, positive and negative, or of preference pairs, in place of the run's held-out texts.",
            callback=at_home,
        ),
    ] = None,
    words: Annotated[
        str | None,
        option(TEST, "For features: two files of words, as praise.txt,blame.txt, to be expected after each text."),
    ] = None,
    random: Annotated[int, option(TEST, "Controls of each intervention: half Gaussian, half matched.", min=0)] = 20,
    answer_tokens: Annotated[int, option(TEST, "Tokens of the answers that the unsteered model gives.", min=1)] = 20,
    budget: Annotated[float, option(TEST, "Most nats a token that neutral text may lose.", min=0)] = 0.1,
    show: Annotated[int, option(TEST, "Generate answers to so many prompts, to be looked at.", min=0)] = 0,
    seed: Annotated[int, option(TEST, "Of the controls.", min=0)] = 0,
) -> None:
    """Is what a run found causal? Its directions or features are put into the model, and answers are scored.

    Layer and strength are chosen on validation texts and reported once on test texts, beside what random and matched
    directions do and what neutral text loses.

    Example: [b]actkit steer runs/enthusiasm[/]

    Example: [b]actkit steer runs/enthusiasm --layers 15 --strengths 2 --random 20 --show 3[/]

    Example: [b]actkit steer runs/feedback --features top:10 --do zero --each[/]
    """
    call = locals()
    with starting(follow.quiet):
        from actkit.recipes.steering.run import run_steer
        from actkit.recipes.steering.spec import SteerSpec

    spec = spec_of_call(SteerSpec, call)
    shared = follow.shared()
    hand_over(run_command(run_steer, spec, follow.spec(spec.command), shared), shared)


def steer_after(run: Path, shared: Shared, features: str | None = None) -> None:
    """`--steer`: measure the effects of a run that has just finished, in a run beside it, called <run>-effects."""
    from actkit.recipes.steering.run import run_steer
    from actkit.recipes.steering.spec import SteerSpec

    same = {name: getattr(shared, name) for name in OF_BOTH}
    follow = Follow(out=run.with_name(f"{run.name}-effects"), **same)
    spec = SteerSpec(str(run), features=features)
    run_command(run_steer, spec, follow.spec(spec.command), follow.shared())
