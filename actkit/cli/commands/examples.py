"""`actkit examples`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actkit.bundled import EXAMPLES, USES
from actkit.errors import RunError, UsageError


def examples(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One of the files; without it, all are listed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Sample inputs: written into the current folder, one for each command.

    Example: [b]actkit examples[/]

    Example: [b]actkit examples pairs.jsonl[/]

    Example: [b]actkit examples all[/]
    """
    if name is None:
        width = max(map(len, USES))
        for file, line in USES.items():
            sys.stdout.write(f"{file:<{width}}  {line}\n")
        return
    chosen = list(USES) if name == "all" else [file for file in USES if name in (file, file.partition(".")[0])]
    if not chosen:
        raise UsageError(f"no example {name!r}", f"there are {', '.join(USES)}, or all")
    for file in chosen:
        if Path(file).exists() and not overwrite:
            raise RunError(f"{file} exists already", "go to another folder, or --overwrite")
    for file in chosen:
        Path(file).write_bytes((EXAMPLES / file).read_bytes())
        sys.stdout.write(f"{file}\n")
