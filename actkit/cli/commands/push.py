"""`actkit push`."""

import sys
from typing import Annotated

import typer

from actkit.cli.options.groups import OUTPUT, QuietAddress, RunPath, option, with_option_groups
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import console
from actkit.cli.screen.progress import share_shown


@with_option_groups
def push(
    run: RunPath,
    to: Annotated[str, typer.Argument(metavar="TO", help="hf://datasets/me/name, or s3://, gs://, az://.")],
    licence: Annotated[
        str | None,
        option(OUTPUT, "hf: of the tables, such as cc-by-4.0; the card states none of its own.", "--license"),
    ] = None,
    private: Annotated[bool, option(OUTPUT, "hf: make a dataset that is not public.")] = False,
    overwrite: Annotated[bool, option(OUTPUT, "Replace another run that is there.")] = False,
    quiet: QuietAddress = False,
) -> None:
    """Put a finished run into a dataset of the Hugging Face hub, or into an object store.

    load_dataset("me/name", "features") then loads a table, and actkit show, verify and report read it from there. The
    card says what the run is. What is there already is not sent again, so that a push that broke off goes on.

    Example: [b]actkit push runs/x hf://datasets/me/name --license cc-by-4.0[/]
    """
    check_run(run, "actkit push")
    from actkit.runs.pushing import push as put

    with share_shown(quiet, "pushing") as on_share:
        address = put(run, to, licence, private, overwrite, on_share)
    if not quiet:
        console().print(f"{run} is at {address}", markup=False)
    sys.stdout.write(f"{address}\n")
