"""`actkit --help`: where to start, and the commands in their groups, drawn as the help of each command is."""

from typing import Any

from typer.core import TyperGroup

from actkit.cli.options.help_lines import MARGIN, table, wrapped

MOST_COLUMNS = 100


class Commands(TyperGroup):
    """All commands, with a help that has no boxes and fits terminals of any width."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's own signature
        """Write the help."""
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
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
