"""`actkit report`."""

import sys
from pathlib import Path
from typing import Annotated

from actkit.cli.options.groups import (
    OUTPUT,
    OtherRun,
    OverwriteFile,
    QuietPath,
    RunPath,
    option,
    with_option_groups,
)
from actkit.cli.run_argument import LIMIT_MB, check_file, check_run, page_of, write_page


@with_option_groups
def report(
    run: RunPath,
    other: OtherRun = None,
    out: Annotated[Path | None, option(OUTPUT, "The page; by default RUN.html beside the run.", "-o")] = None,
    limit_mb: Annotated[
        float, option(OUTPUT, "Size of the page in MB; what does not fit is said in it.", min=3)
    ] = LIMIT_MB,
    overwrite: OverwriteFile = False,
    quiet: QuietPath = False,
) -> None:
    """One page of a finished run, or of two side by side: pictures, texts token by token, features with their contexts.

    The page is one file that needs no network: it can be copied, sent, and kept with a paper.

    Example: [b]actkit report runs/x -o x.html[/]
    """
    runs = [path for path in (run, other) if path is not None]
    for folder in runs:
        check_run(folder, "actkit report")
    path = out if out is not None else page_of(runs)
    check_file(path, "a page", "report.html", overwrite)
    write_page(runs, path, quiet, limit_mb)
    sys.stdout.write(f"{path}\n")
