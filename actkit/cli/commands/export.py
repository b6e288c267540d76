"""`actkit export`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from actkit.cli.options.groups import OUTPUT, OverwriteFile, QuietPath, RunPath, option, with_option_groups
from actkit.cli.run_argument import check_file, check_run
from actkit.cli.screen.console import console, say, size
from actkit.cli.screen.progress import share_shown
from actkit.config import ExportFormat

FORMAT = "Of one format"
"""The panel of `--help` for options of a single format."""


@with_option_groups
def export(
    run: RunPath,
    to: Annotated[ExportFormat, typer.Option("--to", "-t", help="The format.")],
    out: Annotated[
        Path | None, option(OUTPUT, "The file to write; by default beside the run, under its name.", "-o")
    ] = None,
    overwrite: OverwriteFile = False,
    quiet: QuietPath = False,
    compression: Annotated[Literal["gzip", "lzf", "none"] | None, option(FORMAT, "h5: gzip if not given.")] = None,
    max_mb: Annotated[int | None, option(FORMAT, "pt: refuse a larger file; 2000 if not given.", min=1)] = None,
    special: Annotated[bool, option(FORMAT, "jsonl: also the BOS that each chunk begins with.")] = False,
    method: Annotated[
        str | None, option(FORMAT, "npz, safetensors, gguf of concept: which directions; mean-diff if not given.")
    ] = None,
    layers: Annotated[
        str | None,
        option(FORMAT, "gguf: several layers with equal shares (all, 12-16, …); the chosen one if not given."),
    ] = None,
) -> None:
    """A finished run in another format: one file, which other tools read.

    h5: preference pairs of dpo. pt: tensors of capture. json: sae-extract and reward-detect. jsonl: documents of
    feature-dataset. npz, safetensors: arrays of dpo and capture, directions of concept. gguf: directions of concept, as
    a control vector of llama.cpp. saedashboard: features with their contexts, for SAEDashboard and Neuronpedia.

    Example: [b]actkit export runs/pairs --to h5 -o pairs.h5[/]
    """
    check_file(out, "a format", "pairs.h5", overwrite=True)  # `write` checks all files of the format
    check_run(run, f"actkit export --to {to}")
    from actkit.export.formats import export as write

    with share_shown(quiet, f"writing {to}") as on_progress:
        path = write(
            run,
            to,
            out,
            overwrite,
            on_progress,
            (lambda _text: None) if quiet else (lambda text: say("note", text)),
            compression=compression,
            max_mb=max_mb,
            special=special or None,
            method=method,
            layers=layers,
        )
    if not quiet:
        console().print(Text.assemble(("export", "bold"), f" of {run} to {to}: {size(path.stat().st_size)}"))
    sys.stdout.write(f"{path}\n")
