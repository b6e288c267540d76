"""`actkit verify`."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.text import Text

from actkit.cli.options.groups import (
    MODEL,
    OUTPUT,
    SAE,
    AllowPickle,
    Device,
    RunPath,
    TrustRemoteCode,
    at_home,
    option,
    with_option_groups,
)
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import console, counted, draw_table, headed, say, write_json
from actkit.cli.screen.progress import share_shown
from actkit.config import Attention
from actkit.errors import RunError

if TYPE_CHECKING:
    from actkit.verify.recompute.run import RecomputeSpec
    from actkit.verify.tables.findings import Findings

STILL_READABLE = ("checksums", "counts", "derived")
"""Checks whose problems leave a run's rows where they belong."""
AGAIN = "Computing again"
MOST_SHOWN = 50
"""Problems printed; `--json` has them all."""


@with_option_groups
def verify(
    run: RunPath,
    recompute: Annotated[
        int,
        option(
            AGAIN,
            "Also compute this many records again, drawn at random, on the plain Hugging Face model, one text at a "
            "time, and read the input again, where it still is what it was.",
            min=0,
        ),
    ] = 0,
    deep: Annotated[
        bool,
        option(
            AGAIN,
            "Also compute tests, directions, effects and logits of features again, from shards and weights, which "
            "takes as long as when the run was made; --recompute does too.",
        ),
    ] = False,
    seed: Annotated[int, option(AGAIN, "Of the draw.", min=0)] = 0,
    model: Annotated[
        str | None, option(MODEL, "Where the model is, if not where it was.", "-m", callback=at_home)
    ] = None,
    attn: Annotated[Attention | None, option(MODEL, "Attention implementation; the run's own if not given.")] = None,
    device: Device = "auto",
    sae: Annotated[
        list[str] | None,
        option(SAE, "Directory of an SAE of the run that is not where it was; may be repeated.", callback=at_home),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    quiet: Annotated[bool, option(OUTPUT, "Print errors only.", "-q")] = False,
    json: Annotated[bool, option(OUTPUT, "Print what was found as one JSON object.")] = False,
) -> None:
    """Whether a finished run is whole and right: every shard is read again, and everything that is wrong is named.

    Files, checksums, columns, counts, order, positions, numbers, features, statistics. Exit status 0 if all is well, 1
    if not; what was found stays in the run as verify.json.

    Example: [b]actkit verify runs/pairs --recompute 20[/]
    """
    from actkit.verify.tables.findings import leave
    from actkit.verify.tables.run import verify as check

    idle = {"--model": model, "--sae": sae, "--attn": attn, "--seed": seed}
    if not recompute and not deep and not quiet:
        for flag in (flag for flag, value in idle.items() if value):
            say("warning", f"{flag} does nothing without --recompute N or --deep: nothing is computed again")
    check_run(run, "actkit verify")
    began = time.monotonic()
    deep = deep or recompute > 0
    with share_shown(quiet, "reading shards") as show:
        findings = check(run, show, deep)
    of_records: list[str] = []
    again: dict[str, Any] | None = None
    # A run with changed bytes can still be computed again, but not one whose rows are not where they belong.
    if deep and all(problem.check in STILL_READABLE for problem in findings.problems):
        from actkit.verify.recompute.run import RecomputeSpec

        spec = RecomputeSpec(recompute, seed, attn, device, model, tuple(sae or ()), trust_remote_code, allow_pickle)
        of_records, again = _computed_again(run, spec, findings, quiet)
    elif recompute:
        findings.notes.append("nothing was computed again: the rows are damaged")
    problems = [*map(str, findings.problems), *of_records]
    found = findings.facts() | ({} if again is None else {"recomputed": again}) | {"ok": not problems}
    found["problems"] += [{"check": "recomputed", "where": "", "what": problem} for problem in of_records]
    note = leave(run, found, time.monotonic() - began, deep)
    findings.notes += [note] if note else []
    if not quiet:
        _show(run, findings, again, problems)
    if json:
        write_json(found)
    if problems:
        more = f" (and {counted(len(problems) - 1, 'more problem')})" if len(problems) > 1 else ""
        raise RunError(f"{run}: {problems[0]}{more}", "do not use these numbers; make the run again")


def _computed_again(
    run: Path, spec: "RecomputeSpec", findings: "Findings", quiet: bool
) -> tuple[list[str], dict[str, Any] | None]:
    """Compute `spec.n` records again, or for 0 what the weights alone give; return problems of records, and figures."""
    from actkit.recipes.input_again import check_input
    from actkit.verify.recompute.run import check_weights
    from actkit.verify.recompute.run import recompute as compute
    from actkit.verify.tables.run import checked_facts

    facts = checked_facts(run)
    if spec.n:
        with share_shown(quiet, "reading the input again"):
            check_input(run, facts, spec, findings)
    with share_shown(quiet, "computing again") as show:
        if not spec.n:
            check_weights(run, facts, spec, findings)
            return [], None
        again, figures = compute(run, facts, spec, findings, lambda done: show(done / spec.n))
        return again.problems, figures


def _show(run: Path, findings: "Findings", again: Mapping[str, Any] | None, problems: list[str]) -> None:
    """Print the checks and their results, then each problem on a line."""
    screen = console()
    shown = headed("check", "looked at", "result", left=("check", "result"))
    wrong = [problem.check for problem in findings.problems]
    facts = findings.facts()["checked"]
    for name in [*facts, *(name for name in dict.fromkeys(wrong) if name not in facts)]:
        result = f"[red]{wrong.count(name)} wrong[/]" if name in wrong else "ok"
        shown.add_row(name, f"{facts.get(name, 0):,}", result)
    screen.print(Text.assemble(("verify", "bold"), f" {run}"))
    draw_table(shown, screen)
    if again is not None:
        _show_again(again)
    for text in (*findings.notes, *_not_again(again)):
        say("note", text, screen=screen)
    for text in problems[:MOST_SHOWN]:
        say("wrong", text, "red", screen)
    if len(problems) > MOST_SHOWN:
        screen.print(f"and {len(problems) - MOST_SHOWN:,} more; --json has them all")


def _show_again(again: Mapping[str, Any]) -> None:
    screen = console()
    texts = again["texts"]
    screen.print(
        f"{counted(again['records'], 'record')} computed again ({again['dtype']}, {again['attn']}, "
        f"{again['device']}, seed {again['seed']}): {counted(again['sequences'], 'sequence')}, "
        f"{counted(again['tokens'], 'token')}; {texts['same']:,} of {counted(texts['sequences'], 'text')} give the "
        "same tokens"
    )
    figures = ("rows", "worst error", "allowed", "same rows", "same features")
    shown = headed("computed again", *figures, left=("computed again",))
    for name, row in again["hook_points"].items():
        shown.add_row(name, f"{row['vectors']:,}", f"{row['worst_error']:.1e}", f"{row['tolerance']:.0e}")
    for name, row in again["saes"].items():
        same = ["" if row[share] is None else f"{row[share]:.2%}" for share in ("identical", "common")]
        shown.add_row(name, f"{row['rows']:,}", f"{row['worst_error']:.1e}", f"{row['tolerance']:.0e}", *same)
    draw_table(shown, screen)


def _not_again(again: Mapping[str, Any] | None) -> list[str]:
    if again is None:
        return []
    found = [f"not computed again: {name} ({why})" for name, why in again["not_recomputed"].items()]
    if again["texts"]["not_defined"]:
        beginnings = counted(again["texts"]["not_defined"], "shared beginning has", "shared beginnings have")
        found.append(f"{beginnings} no tokens of their own to compare")
    return found
