"""`--help`: the options of a command's own, and the most used of the others; `--help-all`: every option.

Both fit 80 columns and narrower terminals, and break no name. `Command` replaces typer's own help, which draws every
option in boxes.
"""

import inspect
import types
import typing
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from actkit.bundled import NAME
from actkit.cli.options.help_lines import table, typed, wrapped
from actkit.cli.options.presets import naming_near
from actkit.cli.run_argument import explained
from actkit.cli.screen.console import OutputConsole
from actkit.cli.screen.pasted import INPUT
from actkit.cli.signals import what_is_kept
from actkit.cli.streams import end_with_reader
from actkit.errors import RunError
from actkit.remote.hub_reach import check_model, check_saes

MOST_USED = ("model", "preset", "layers", "sae_release", "max_samples", "out", "resume", "config")
"""Shared options that the short help of a command shows; `--help-all` shows the others."""
PANELS = ("What is read", "Model", "Sparse autoencoder", "Statistics", "Computing", "Output")
"""The order of groups, the same for every command; groups of a single command come after them."""
LINES = 44
"""Most lines of the short help at 80 columns."""
EXAMPLE = "Example:"
"""First word of the paragraphs of a command's docstring that are lines to type."""


class Command(TyperCommand):
    """A command with a short `--help`, and all of its options under `--help-all`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its parameters, and `--help-all` after `--help`."""
        given = super().get_params(ctx)
        return [*given, _help_all(self)] if self.shared_options else given

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An unexpected error over a damaged run becomes a sentence about the damage."""
        argument = next((each.name for each in self.params if each.param_type_name == "argument"), "")
        given = ctx.params.get(argument)
        INPUT.set(given if isinstance(given, str) else None)
        model = ctx.params.get("model") or NAME
        try:
            with explained(ctx.params), naming_near(model, ctx.params.get("preset")):
                check_model(model)
                check_saes(ctx.params.get("sae_release"), ctx.params.get("sae_id") or ())
                return super().invoke(ctx)
        except BrokenPipeError:  # typer would exit silently, whichever pipe or connection broke
            end_with_reader()
            raise RunError(
                "the other end of a pipe or connection was closed while actkit wrote to it",
                what_is_kept("resume" in ctx.params),
            ) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's own signature
        """Write the short help."""
        self._write(ctx, everything=not self.shared_options)

    @property
    def shared_options(self) -> set[str]:
        """Names of the options that other commands have too; empty for commands with few options."""
        return set(getattr(inspect.unwrap(self.callback), "shared_options", ())) if self.callback else set()

    def _write(self, ctx: Any, everything: bool) -> None:
        console = OutputConsole(highlight=False)
        width = min(console.width, 100)
        for line in _lines(self, ctx, width, everything):
            console.print(line, soft_wrap=True)


def _help_all(command: Command) -> Any:
    def shown(ctx: Any, _parameter: Any, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            command._write(ctx, everything=True)
            raise typer.Exit

    about = typer.Option("--help-all", is_eager=True, expose_value=False, callback=shown, help="Show every option.")
    taken = typer.Typer(add_completion=False)

    @taken.command()
    def only(help_all: typing.Annotated[bool, about] = False) -> None:
        pass

    made: Any = typer.main.get_command(taken)
    return made.params[0]


def _lines(command: Command, ctx: Any, width: int, everything: bool) -> list[Any]:
    """The help, line by line."""
    from rich.text import Text

    lines: list[Any] = [*wrapped(Text(" ".join(command.get_usage(ctx).split()), style="bold"), width, 0)]
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for paragraph in (each for each in paragraphs if not each.startswith(EXAMPLE)):
        lines += [Text(), *wrapped(Text.from_markup(" ".join(paragraph.split())), width, 0)]
    examples = [each.removeprefix(EXAMPLE).strip() for each in paragraphs if each.startswith(EXAMPLE)]
    if examples:
        lines += [Text(), Text("Examples", style="bold")]
        lines += [Text(line, style="cyan") for each in examples for line in typed(Text.from_markup(each).plain, width)]
    hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)  # type: ignore[arg-type]
    params = [each for each in command.get_params(ctx) if not getattr(each, "hidden", False) and each.name in hints]
    arguments = [each for each in params if each.param_type_name == "argument"]
    options = [each for each in params if each.param_type_name == "option"]
    if arguments:
        lines += [Text(), *table([row_of(each, hints, True) for each in arguments], width)]
    if everything:
        for title in sorted({panel_of(each) for each in options}, key=_order):
            rows = [row_of(each, hints, True) for each in options if panel_of(each) == title]
            lines += [Text(), Text(title, style="bold"), *table(rows, width)]
        return lines
    most = [row_of(each, hints, False) for name in MOST_USED for each in options if each.name == name]
    own = sorted(
        (each for each in options if each.name not in {*command.shared_options, *MOST_USED}),
        key=lambda each: _order(panel_of(each)),
    )
    below = [Text(), Text("Most used of the others", style="bold"), *table(most, width), Text()]
    lines += [Text(), Text(f"Options of {command.name}", style="bold")]
    shown = 0
    for each in own:
        row = list(table([row_of(each, hints, False)], width))
        if width >= 80 and len(lines) + len(row) + len(below) + 1 > LINES:
            break
        lines += row
        shown += 1
    left = len(options) - shown - len(most)
    return [
        *lines,
        *below,
        *wrapped(Text(f"{left} more, and what each takes: {ctx.command_path} --help-all"), width, 0),
    ]


def _order(title: str) -> tuple[int, str]:
    return (PANELS.index(title) if title in PANELS else len(PANELS), title)


def panel_of(parameter: Any) -> str:
    """The panel of the help that an option is in."""
    return str(getattr(parameter, "rich_help_panel", None) or "Options")


def row_of(parameter: Any, hints: Any, whole: bool) -> tuple[str, str]:
    """Return the names with the kind of value, and the text: whole, or one long name and the text's first part."""
    from rich.text import Text

    if parameter.param_type_name == "argument":
        names, said = str(parameter.metavar or parameter.name.upper()), ""
    else:
        flags = sorted(parameter.opts, key=lambda flag: (flag.startswith("--"), parameter.opts.index(flag)))
        letters = sum(not flag.startswith("--") for flag in flags)
        names = ", ".join([*(flags if whole else flags[: letters + 1]), *parameter.secondary_opts])
        metavar = parameter.metavar or taken(hints[parameter.name])
        names += f" {metavar}" if metavar else ""
        default = parameter.default
        shown = (
            parameter.show_default and default is not None and not isinstance(default, bool) and not callable(default)
        )
        said = f" [{default}]" if shown else ""
    text = Text.from_markup((parameter.help or "").strip()).plain
    if not whole:
        text = text.partition("; ")[0].partition(". ")[0].rstrip(".")
    return names, f"{text}{said}"


def taken(hint: Any) -> str:
    """The kind of value that an option takes: TEXT, N, 0-1, PATH, or its choices; empty for a flag."""
    bounds: Any = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, bounds = hint.__origin__, hint.__metadata__[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) in (list, tuple):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, typing.get_args(hint)))
    if hint is bool:
        return ""
    if hint in (int, float):
        least, most = getattr(bounds, "min", None), getattr(bounds, "max", None)
        return f"{least:g}-{most:g}" if least is not None and most is not None else "N"
    return "PATH" if isinstance(hint, type) and issubclass(hint, Path) else "TEXT"
