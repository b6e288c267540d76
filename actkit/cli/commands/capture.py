"""`actkit capture`."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, get_args

from actkit.cli.options.further import ContextOptions, Dense, Sparse
from actkit.cli.options.groups import READ, InputAlias, argument, at_home, hidden, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_command import hand_over, run_command
from actkit.cli.screen.console import starting
from actkit.cli.signals import ARGUMENTS
from actkit.config import ContrastPositions
from actkit.errors import InputError, UsageError
from actkit.pipeline.input import formats
from actkit.pipeline.input.files import STDIN
from actkit.remote.url import publicly


@with_option_groups
def capture(
    shared: Shared,
    dense: Dense,
    sparse: Sparse,
    context: ContextOptions,
    prompts: Annotated[
        str | None, argument("PROMPTS", f"Text lines, {formats.HELP}, {formats.ALSO}; - reads standard input.")
    ] = None,
    prompt: Annotated[list[str] | None, option(READ, "A prompt; may be repeated.", "-p")] = None,
    positions: Annotated[str, option(READ, "all, last, response, or numbers such as 0,5,-1.")] = "all",
    response_field: Annotated[str, option(READ, "Field of the response, run under teacher forcing.")] = "response",
    chat: Annotated[bool, option(READ, "Put prompts into the model's chat template.", "--chat/--no-chat")] = False,
    system: Annotated[str | None, option(READ, "System message; implies --chat.")] = None,
    concept: Annotated[
        str | None, option(READ, "Both sides of a built-in concept's pairs, as actkit concept without directions.")
    ] = None,
    directions: Annotated[
        str | None,
        option(
            READ,
            "A run of concept: each position is also projected on the directions that it chose (projections).",
            callback=at_home,
        ),
    ] = None,
    field: Annotated[str | None, hidden("--field")] = None,
    input_alias: InputAlias = None,
) -> None:
    """Activations of prompts: all positions, the last one, the response, or positions by number.

    Example: [b]actkit capture --prompt "2 + 2 =" --positions last[/]

    Example: [b]cat prompts.txt | actkit capture - --layers recommended -o runs/x[/]

    Example: [b]actkit capture chats.jsonl --model google/gemma-2-2b-it --positions response[/]
    """
    call = locals()
    if shared.output is not None and shared.out is None and shared.file is None:
        # As in the older script, --output NAME also writes NAME.pt and NAME.json, beside the run.
        shared = replace(shared, export=[*(shared.export or []), "pt"])
    path = prompts or input_alias
    if concept is not None:
        if directions is not None:
            raise UsageError(
                "--concept and --directions were both given", "actkit concept projects on its own directions"
            )
        if path is not None or prompt:
            raise UsageError("--concept and prompts were both given", "capture them one after the other")
        _capture_concept(shared, dense, sparse, concept, positions)
        return
    if path is None and not prompt:
        raise UsageError(
            "no prompts given", 'actkit capture --prompt "Hello", a file of prompts, or - for standard input'
        )
    if system is not None and "--no-chat" in ARGUMENTS.get():
        raise UsageError("--no-chat and --system were both given", "a system message stands in a chat template only")
    with starting(shared.quiet):
        from actkit.recipes.capture import CaptureSpec, run_capture
    _check_has_fields(
        path,
        {
            "--field": field,
            "--prompt-field": context.prompt_field,
            "--system-field": context.system_field,
            "--history-field": context.history_field,
        },
    )
    names = {"path": path, "prompt_field": context.prompt_field or field}
    spec = spec_of_call(CaptureSpec, call, **names, chat=chat or system is not None)
    try:
        finished = run_command(run_capture, spec, sparse.dense_spec(shared, dense, spec.command), shared)
    except InputError as error:
        missing = error.message.startswith(f"{path}: no such file")
        if missing and path is not None and (formats.format_of(path) is None or " " in path):  # the path may be a text
            error.hint = f"a text is given with --prompt: actkit capture --prompt {shlex.quote(path)}"
        raise
    hand_over(finished, shared)


def _capture_concept(shared: Shared, dense: Dense, sparse: Sparse, concept: str, positions: str) -> None:
    """Run `concept` without directions. Raises UsageError for positions that pairs do not have."""
    call = locals()
    if positions not in get_args(ContrastPositions):
        raise UsageError(f"--positions {positions} does not fit --concept", f"{', '.join(get_args(ContrastPositions))}")
    with starting(shared.quiet):
        from actkit.recipes.concept import ConceptSpec, run_concept

    spec = spec_of_call(ConceptSpec, call, what=concept, directions=False)
    hand_over(run_command(run_concept, spec, sparse.dense_spec(shared, dense, spec.command), shared), shared)


def _check_has_fields(path: str | None, named: Mapping[str, str | None]) -> None:
    """Raise UsageError where an option names a field of input without fields: plain lines, prompts of `--prompt`."""
    for flag, name in named.items():
        if name is not None and path is None:
            raise UsageError(f"{flag} {name}: a --prompt is a text and has no fields", f"leave out {flag}")
        if name is not None and path is not None and path != STDIN and formats.format_of(path) == "text":
            raise UsageError(
                f"{flag} {name}: {publicly(path)} is a text file, whose lines have no fields",
                f"leave out {flag}; or, if its lines are JSON, name it .jsonl, or give it on standard input",
            )
