"""`actkit concept`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from actkit.cli.commands.steer import steer_after
from actkit.cli.options.further import ContextOptions, Dense, FromRun, Sparse, changes_in
from actkit.cli.options.groups import OUTPUT, READ, argument, at_home, concepts, hidden, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_checks import check_whole
from actkit.cli.run_command import hand_over, make_from, run_command
from actkit.cli.screen.console import starting, write_json
from actkit.cli.screen.pasted import INPUT
from actkit.config import ContrastPositions
from actkit.errors import UsageError
from actkit.pipeline.input import formats

if TYPE_CHECKING:
    from actkit.recipes.concepts import Template

STEM = "{stem}"


@with_option_groups
def concept(
    call: typer.Context,
    shared: Shared,
    dense: Dense,
    sparse: Sparse,
    context: ContextOptions,
    what: Annotated[
        str | None,
        argument(
            "NAME|FILE",
            "A built-in concept (see --list); or records of positive and negative, of statement and label, or of "
            f"question and answers that match a behaviour or do not: {formats.HELP}, {formats.ALSO}.",
            autocompletion=concepts,
        ),
    ] = None,
    from_run: FromRun = None,
    list_concepts: Annotated[bool, typer.Option("--list", help="Show the built-in concepts.")] = False,
    positive: Annotated[str | None, option(READ, "Your own wording; {stem} is where the stem goes.")] = None,
    negative: Annotated[str | None, option(READ, "Its opposite, likewise.")] = None,
    stems: Annotated[
        str | None, option(READ, "File of stems for --positive and --negative, one a line.", callback=at_home)
    ] = None,
    positions: Annotated[
        ContrastPositions, option(READ, "The last token, the mean of the answer, or all (directions: the last).")
    ] = "last",
    chat: Annotated[
        bool | None,
        option(
            READ,
            "Use the model's chat template; by default if it has one, and not for statements with labels.",
            "--chat/--no-chat",
        ),
    ] = None,
    seed: Annotated[int, option(READ, "Of the split, the shuffles and the random directions.", min=0)] = 0,
    steer: Annotated[
        bool, option(OUTPUT, "Then measure what the directions do, as actkit steer, in <run>-effects.")
    ] = False,
    directions: Annotated[
        bool,
        option(
            READ,
            "Fit and test directions; without them the run holds both sides and their differences.",
            "--directions/--no-directions",
        ),
    ] = True,
    template: Annotated[str, hidden("--template")] = "own",
    input_alias: Annotated[str | None, hidden("--input", "--data", "--concept", callback=at_home)] = None,
) -> None:
    """A direction for a concept at each layer, from contrast pairs, with held-out evidence for it.

    Example: [b]actkit concept honesty --layers recommended -o runs/honesty[/]

    Example: [b]actkit concept pairs.jsonl --model google/gemma-2-2b --layers 10-15[/]

    Example: [b]actkit concept --from runs/honesty --seed 1 -o runs/again[/]
    """
    arguments = locals()
    if list_concepts:
        _list(shared.json)
        return
    if from_run is not None:
        with starting(shared.quiet):
            from actkit.recipes.concept import choose_again

        finished = make_from(choose_again, from_run, changes_in(call), shared)
    else:
        check_whole("--steer", steer, shared)
        name = what or input_alias
        wording = _template(template, positive, negative, stems)
        if name is None:
            INPUT.set(stems)  # the file that hints name
        if (name is None) == (wording is None):
            problem = "no concept given" if name is None else f"{name} and --positive were both given"
            raise UsageError(problem, "actkit concept honesty, a file of pairs, or --positive, --negative and --stems")
        with starting(shared.quiet):
            from actkit.recipes.concept import ConceptSpec, run_concept

        spec = spec_of_call(ConceptSpec, arguments, what=name, template=wording)
        finished = run_command(run_concept, spec, sparse.dense_spec(shared, dense, spec.command), shared)
    if steer:
        steer_after(finished.path, shared)
    hand_over(finished, shared)


def _template(name: str, positive: str | None, negative: str | None, stems: str | None) -> "Template | None":
    """The wording on the command line, or None. Raises UsageError where a part is missing, or a side has no {stem}."""
    given = {"--positive": positive, "--negative": negative, "--stems": stems}
    if all(value is None for value in given.values()):
        return None
    missing = [flag for flag, value in given.items() if value is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} is missing", "--positive TEXT --negative TEXT --stems FILE")
    from actkit.recipes.concepts import Template

    for flag, text in (("--positive", positive), ("--negative", negative)):
        if STEM not in str(text):
            raise UsageError(f"{flag} has no {STEM}", f'such as {flag} "Act as an honest person. {STEM}"')
    return Template(name, str(positive), str(negative))


def _list(as_json: bool) -> None:
    from actkit.recipes.concepts import concepts

    for concept in concepts().values():
        if as_json:
            line = {"concept": concept.name, "description": concept.description, "stems": len(concept.stems)}
            line["templates"] = [vars(template) for template in concept.templates]
            write_json(line)
            continue
        pairs = len(concept.stems) * len(concept.templates)
        sys.stdout.write(f"{concept.name:<13} {concept.description} {pairs} pairs.\n")
        for template in concept.templates:
            sys.stdout.write(f"  {template.name}\n    + {template.positive}\n    - {template.negative}\n")
