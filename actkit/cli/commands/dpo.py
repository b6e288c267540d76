"""`actkit dpo`."""

from pathlib import Path
from typing import Annotated

from actkit.cli.options.further import AnswerOptions, ContextOptions, Dense, Sparse
from actkit.cli.options.groups import READ, InputAlias, argument, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_command import hand_over, run_command
from actkit.cli.screen.console import starting
from actkit.config import PairPositions
from actkit.errors import UsageError
from actkit.pipeline.input import formats


@with_option_groups
def dpo(
    shared: Shared,
    dense: Dense,
    sparse: Sparse,
    context: ContextOptions,
    answers: AnswerOptions,
    pairs: Annotated[
        str | None, argument("PAIRS", f"Preference pairs: {formats.HELP}, {formats.ALSO}; - reads standard input.")
    ] = None,
    positions: Annotated[PairPositions, option(READ, "Which positions are kept.")] = "all",
    chat: Annotated[
        bool | None, option(READ, "Use the model's chat template; by default if it has one.", "--chat/--no-chat")
    ] = None,
    input_alias: InputAlias = None,
) -> None:
    """Activations of preference pairs, token by token, with the point where chosen and rejected diverge.

    Read are prompt + chosen + rejected (TRL), messages, dialogues (hh-rlhf), ShareGPT, two answers with a verdict,
    ranked answers, and more: actkit docs shapes has all. The tokens that both sides share are computed and stored once.

    Example: [b]actkit dpo pairs.jsonl --layers recommended -o runs/pairs[/]

    Example: [b]actkit dpo pairs.jsonl --model google/gemma-2-2b-it --positions divergence[/]

    Example: [b]zstd -dc pairs.jsonl.zst | actkit dpo - --max-samples 500[/]
    """
    call, path = locals(), pairs or input_alias
    if path is None:
        here = "actkit dpo --config config.yaml, " if Path("config.yaml").is_file() else ""
        raise UsageError("no PAIRS given", f"{here}actkit dpo pairs.jsonl, or - for standard input")
    with starting(shared.quiet):
        from actkit.recipes.dpo import DpoSpec, run_dpo

    answers.check()
    spec = spec_of_call(DpoSpec, call, path=path)
    hand_over(run_command(run_dpo, spec, sparse.dense_spec(shared, dense, spec.command), shared), shared)
