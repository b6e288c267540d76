"""`actkit reward-detect`."""

from typing import Annotated

import typer

from actkit.cli.commands.steer import steer_after
from actkit.cli.options.further import AnswerOptions, ContextOptions, FromRun, Sparse, changes_in
from actkit.cli.options.groups import OUTPUT, READ, SAE, InputAlias, argument, hidden, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_checks import check_whole
from actkit.cli.run_command import hand_over, make_from, run_command
from actkit.cli.screen.console import say, starting
from actkit.config import Pool
from actkit.errors import UsageError
from actkit.pipeline.input import formats

TEST = "Statistics"
LISTED = 10
RENAMED = {"top_k": "listed", "activation_threshold": "strength_threshold"}
"""Options of the older script, which have another meaning in the other commands → their names here."""


@with_option_groups
def reward_detect(
    call: typer.Context,
    shared: Shared,
    sparse: Sparse,
    context: ContextOptions,
    answers: AnswerOptions,
    data: Annotated[
        str | None,
        argument(
            "DATA",
            f"Labelled texts or preference pairs: {formats.HELP}, {formats.ALSO}; - for JSONL on standard input.",
        ),
    ] = None,
    from_run: FromRun = None,
    use_example_data: Annotated[bool, option(READ, "The built-in texts, 200 of each sign, instead of a file.")] = False,
    text_field: Annotated[str | None, option(READ, "By default text, response, answer, …")] = None,
    label_field: Annotated[str | None, option(READ, "By default feedback, label, …")] = None,
    positive: Annotated[
        list[str] | None,
        option(
            READ,
            "A label that counts as positive, or a rule for grades such as '>=3'; may be repeated; by default "
            "positive, true, 1, …",
        ),
    ] = None,
    negative: Annotated[
        list[str] | None,
        option(
            READ,
            "A label that counts as negative, or a rule for grades such as '<=1'; may be repeated; by default "
            "negative, false, 0, -1, …",
        ),
    ] = None,
    positive_column: Annotated[
        list[str] | None,
        option(READ, "A column of zeros and ones in which a one is positive, instead of a label; may be repeated."),
    ] = None,
    negative_column: Annotated[
        list[str] | None,
        option(READ, "The same for negative; with columns of one sign alone, all zeros are the other."),
    ] = None,
    group_field: Annotated[
        str | None,
        option(READ, "What belongs together in tests and split; by default group, question_id, or an equal prompt."),
    ] = None,
    score_field: Annotated[str | None, option(READ, "A weight in means, shares and correlation; else none.")] = None,
    chat: Annotated[
        bool | None,
        option(
            READ,
            "Use the model's chat template; by default for messages and pairs, not for plain texts.",
            "--chat/--no-chat",
        ),
    ] = None,
    pool: Annotated[Pool, option(SAE, "How a text's tokens become one number a feature.")] = "max",
    strength_threshold: Annotated[
        float | None,
        option(TEST, "Require this mean activation where it is active; 0.5 in passes_thresholds.", min=0.0),
    ] = None,
    correlation_threshold: Annotated[
        float | None,
        option(TEST, "Require this correlation with the label; 0.6 in passes_thresholds.", min=0.0, max=1.0),
    ] = None,
    q: Annotated[float, option(TEST, "False-discovery rate.", min=0.0, max=1.0)] = 0.05,
    held_out: Annotated[float, option(TEST, "Share of the groups held out from the ranking.", min=0.0, max=0.9)] = 0.3,
    draws: Annotated[int, option(TEST, "Exchanges of labels where p needs them.", min=100)] = 10_000,
    seed: Annotated[int, option(TEST, "Of the split and the exchanges.", min=0)] = 0,
    null_draws: Annotated[int, hidden("--null-draws", min=1)] = 1000,
    listed: Annotated[int, option(OUTPUT, "Features that are listed.", min=1)] = LISTED,
    top_k: Annotated[int | None, hidden("--top-k", "-k", min=1)] = None,
    activation_threshold: Annotated[float | None, hidden("--activation-threshold", min=0.0)] = None,
    steer: Annotated[
        bool, option(OUTPUT, "Then measure what the top ten do, as actkit steer, in <run>-effects.")
    ] = False,
    input_alias: InputAlias = None,
) -> None:
    """SAE features that respond to positive feedback, ranked, with held-out evidence and what chance would give.

    Example: [b]actkit reward-detect --use-example-data[/]

    Example: [b]actkit reward-detect comments.jsonl --positive gratitude --negative annoyance[/]

    Example: [b]actkit reward-detect --from runs/feedback --q 0.1 --held-out 0.5 -o runs/again[/]
    """
    given = locals()
    arguments = given | {new: given[old] for old, new in RENAMED.items() if given[old] is not None}
    for old, new in RENAMED.items():
        if call.params.get(old) is not None and not shared.quiet:
            was, now = f"--{old.replace('_', '-')}", f"--{new.replace('_', '-')}"
            say("note", f"{was} is called {now} here: in the other commands it is about each token's features")
    if from_run is not None:
        with starting(shared.quiet):
            from actkit.recipes.reward_detect import rank_again

        finished = make_from(rank_again, from_run, changes_in(call), shared)
    else:
        check_whole("--steer", steer, shared)
        path = data or input_alias
        if (path is None) == (not use_example_data):
            what = "no DATA given" if path is None else "DATA and --use-example-data were both given"
            raise UsageError(what, "actkit reward-detect feedback.jsonl, or --use-example-data")
        sparse.sae_specs(shared.model)  # raises the errors of SAE options before anything is read
        with starting(shared.quiet):
            from actkit.recipes.labels import check_labels
            from actkit.recipes.reward_detect import RewardDetectSpec, run_reward_detect

        spec = spec_of_call(RewardDetectSpec, arguments, path=path)
        check_labels(spec.fields)
        answers.check()
        finished = run_command(run_reward_detect, spec, sparse.sparse_spec(shared, spec.command), shared)
    if steer:
        steer_after(finished.path, shared, features="top:10")
    hand_over(finished, shared)
