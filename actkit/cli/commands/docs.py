"""`actkit docs`."""

import sys
from typing import Annotated

import typer

from actkit.cli.screen.console import OutputConsole
from actkit.docs import pages, title
from actkit.errors import UsageError, did_you_mean


def docs(
    page: Annotated[
        str | None, typer.Argument(metavar="PAGE", help="Name of a page; without one, all are listed.")
    ] = None,
) -> None:
    """The documentation: every page, rendered on a terminal, as Markdown in a pipe.

    Example: [b]actkit docs[/]

    Example: [b]actkit docs reward-detect[/]

    Example: [b]actkit docs tables > tables.md[/]
    """
    from rich.markdown import Markdown
    from rich.table import Table

    found = pages()
    screen = OutputConsole(highlight=False)
    if page is None:
        listed = Table(box=None, pad_edge=False, show_header=False)
        for name, path in found.items():
            listed.add_row(name, title(path))
        screen.print(listed)
        return
    name = page.lower().removesuffix(".md")
    if name not in found:
        raise UsageError(f"no page {page!r}", f"{did_you_mean(name, found)}there are {', '.join(found)}")
    text = found[name].read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    with screen.pager(styles=True):
        screen.print(Markdown(text))
