"""Arguments and options of commands that look at a finished run."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from actkit.cli.options.groups import OUTPUT, at_home, option

RunPath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="A finished run's directory.", callback=at_home)
]
OtherRun: TypeAlias = Annotated[
    Path | None, typer.Argument(metavar="OTHER", help="Another, to be shown beside it.", callback=at_home)
]
OverwriteFile: TypeAlias = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing file.")]
QuietPath: TypeAlias = Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Print the path and errors only.")]
QuietAddress: TypeAlias = Annotated[
    bool, option("--quiet", "-q", panel=OUTPUT, help="Print the address and errors only.")
]
