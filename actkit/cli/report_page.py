"""The page of finished runs, for `actkit report` and for `--report`."""

import sys
from pathlib import Path

from actkit.cli.screen.console import console, size
from actkit.runs.paths import beside as of_run

LIMIT_MB = 25


def beside(runs: list[Path]) -> Path:
    """Where the page of some runs goes that is given no name."""
    names = " and ".join(run.absolute().name for run in runs)
    return of_run(runs[0], "").with_name(f"{names.replace(' ', '-')}.html")


def write_page(runs: list[Path], path: Path, limit_mb: float, quiet: bool) -> None:
    """Write a page, and say on standard error what the run found."""
    from actkit.report.header import finding
    from actkit.report.write import write_report
    from actkit.runs.run import open_run

    opened = [open_run(run) for run in runs]
    if not quiet and sys.stderr.isatty():
        with console().status("writing the report"):
            write_report(opened, path, limit_mb)
    else:
        write_report(opened, path, limit_mb)
    if not quiet:
        console().print(f"report: {path} ({size(path.stat().st_size)})", markup=False)
        console().print(finding(opened[0]), markup=False)
