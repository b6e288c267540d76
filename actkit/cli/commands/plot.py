"""`actkit plot`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actkit.cli.options.groups import OUTPUT, READ, OverwriteFile, RunPath, option, with_option_groups
from actkit.cli.run_argument import check_file, check_run
from actkit.cli.screen.console import console


@with_option_groups
def plot(
    run: RunPath,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which picture; left out, they are listed.")
    ] = None,
    out: Annotated[
        Path | None,
        option(OUTPUT, "The file: .svg, .png, .pdf or .html; by default RUN-NAME.svg beside the run.", "-o"),
    ] = None,
    overwrite: OverwriteFile = False,
    dark: Annotated[bool, option(OUTPUT, "Light on dark.")] = False,
    width: Annotated[int, option(OUTPUT, "Width in pixels.", min=300, max=4000)] = 860,
    layer: Annotated[int | None, option(READ, "Of pictures of one layer: which.")] = None,
    feature: Annotated[int | None, option(READ, "Of pictures of one feature: which.")] = None,
    sae: Annotated[str | None, option(READ, "Which SAE; the first by default.", "--sae-name")] = None,
    record: Annotated[int | None, option(READ, "Of pictures of one record: which.")] = None,
    token: Annotated[str | None, option(READ, "search: the token's text, spaces included.")] = None,
) -> None:
    """One picture of a finished run as a file: svg, png, pdf or html.

    Example: [b]actkit plot runs/honesty layers -o layers.svg[/]
    """
    check_run(run, "actkit plot")
    from actkit.plots.picture import Pick
    from actkit.plots.pictures import draw, pictures_of, save
    from actkit.runs.run import open_run

    opened = open_run(run)
    if name is None:
        for picture in pictures_of(opened):
            sys.stdout.write(f"{picture.name:<12} {picture.shows}\n")
        return
    path = out if out is not None else run.absolute().parent / f"{run.absolute().name}-{name}.svg"
    check_file(path, "a picture", "picture.svg", overwrite)
    drawn = draw(opened, name, Pick(layer, sae, feature, record, token))
    save(drawn, path, dark, width)
    console().print(f"{drawn.title}. {drawn.says}", markup=False)
    sys.stdout.write(f"{path}\n")
