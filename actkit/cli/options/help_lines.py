"""`actkit --help`, and the lines of any help: names on the left with their texts, sentences, lines to type."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

from actkit.cli.screen.console import OutputConsole

NARROW = 60
"""On terminals of fewer columns, the text of an option stands under its name."""
MARGIN = 2


def wrapped(text: Any, width: int, indent: int) -> Iterator[Any]:
    """Break a text between words, into lines that begin `indent` columns from the left."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=max(width - indent, 20))
    for line in text.wrap(console, max(width - indent, 20)):
        line.rstrip()
        yield Text.assemble(" " * indent, line)


def typed(line: str, width: int) -> Iterator[str]:
    """Break a line to type, where the terminal is too narrow, into lines that a shell reads as a single one."""
    written = " " * MARGIN
    for word in line.split(" "):
        if len(written) + len(word) + 2 > width and written.strip():
            yield f"{written.rstrip()} \\"
            written = " " * (2 * MARGIN)
        written += f"{word} "
    yield written.rstrip()


def table(rows: list[tuple[str, str]], width: int, column: int = 28) -> Iterator[Any]:
    """Lay out names on the left, texts from `column` on; names that are too long for that get lines of their own."""
    from rich.text import Text

    column = 0 if width < NARROW else column
    for names, text in rows:
        if not column or len(names) > column - MARGIN - 2:
            for line in _broken(names, width - MARGIN):
                yield Text(" " * MARGIN + line, style="cyan")
            yield from wrapped(Text(text), width, column or 2 * MARGIN)
            continue
        lines = list(wrapped(Text(text), width, column)) or [Text()]
        head = Text((" " * MARGIN + names).ljust(column), style="cyan")
        yield Text.assemble(head, lines[0].plain.strip())
        yield from lines[1:]


def _broken(names: str, width: int) -> Iterator[str]:
    """Break names and choices into as many lines as they need, after a comma, a space or a bar."""
    line = ""
    for piece in names.replace(", ", ",\0").replace("|", "|\0").replace(" ", " \0").split("\0"):
        if line and len(line) + len(piece.rstrip()) > width:
            yield line.rstrip()
            line = "  "
        line += piece if not piece.endswith(",") else f"{piece} "
    yield line.rstrip()


MOST_COLUMNS = 100


class Commands(TyperGroup):
    """All commands, with a help that has no boxes and fits terminals of any width."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's own signature
        """Write the help."""
        from rich.text import Text

        console = OutputConsole(highlight=False)
        width = min(console.width, MOST_COLUMNS)
        lines: list[Any] = [*wrapped(Text("Usage: actkit COMMAND [OPTIONS] …", style="bold"), width, 0)]
        for paragraph in (self.help or "").split("\n\n"):
            lines += [Text(), *wrapped(Text.from_markup(paragraph), width, 0)]
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            about = Text.from_markup((command.help or "").partition("\n\n")[0].replace("`", "")).plain
            panels.setdefault(command.rich_help_panel, []).append((name, about))
        for panel, rows in panels.items():
            lines += [Text(), Text(panel, style="bold"), *table(rows, width, column=MARGIN + 18)]
        given: list[Any] = self.get_params(ctx)
        options = [(", ".join(sorted(each.opts)), each.help or "") for each in given]
        lines += [Text(), Text("Options", style="bold"), *table(options, width)]
        for line in [*lines, Text(), *wrapped(Text(self.epilog or ""), width, 0)]:
            console.print(line, soft_wrap=True)
