"""`actkit report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actkit.cli.options.groups import OUTPUT, at_home, option, with_option_groups
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import console, size
from actkit.errors import UsageError

LIMIT_MB = 25


@with_option_groups
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A finished run's directory.", show_default=False, callback=at_home)
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="Another, to be shown beside it.", show_default=False, callback=at_home),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            panel=OUTPUT,
            help="The page; by default RUN.html beside the run.",
            show_default=False,
            callback=at_home,
        ),
    ] = None,
    limit_mb: Annotated[
        float,
        option("--limit-mb", panel=OUTPUT, min=3, help="Size of the page in MB; what does not fit is said in it."),
    ] = LIMIT_MB,
    overwrite: Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing file.")] = False,
    quiet: Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Print the path and errors only.")] = False,
) -> None:
    """One page of a finished run, or of two side by side: pictures, texts token by token, features with their contexts.

    The page is one file that needs no network: it can be copied, sent, and kept with a paper.

    Example: [b]actkit report runs/x -o x.html[/]
    """
    runs = [one for one in (run, other) if one is not None]
    for one in runs:
        check_run(one, "actkit report")
    path = out if out is not None else beside(runs)
    if str(path) == "-":
        raise UsageError("--out -: a page is a file, and is not written to standard output", "-o report.html")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already", "another --out, or --overwrite")
    write(runs, path, limit_mb, quiet)
    sys.stdout.write(f"{path}\n")


def beside(runs: list[Path]) -> Path:
    """Where the page of some runs goes that is given no name."""
    names = " and ".join(one.absolute().name for one in runs)
    return runs[0].absolute().parent / f"{names.replace(' ', '-')}.html"


def write(runs: list[Path], path: Path, limit_mb: float, quiet: bool) -> None:
    """Write a page, and say on standard error what the run found."""
    from actkit.report.finding import finding
    from actkit.report.write import write_report
    from actkit.runs.run import open_run

    opened = [open_run(one) for one in runs]
    if not quiet and sys.stderr.isatty():
        with console().status("writing the report"):
            write_report(opened, path, limit_mb)
    else:
        write_report(opened, path, limit_mb)
    if not quiet:
        console().print(f"report: {path} ({size(path.stat().st_size)})", markup=False)
        console().print(finding(opened[0]), markup=False)
