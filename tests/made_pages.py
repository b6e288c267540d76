"""Pages that are made from code: columns of tables, options of commands, presets, shapes of records.

    python -m tests.made_pages

writes them anew into `actkit/docs`; a test fails where one is stale.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import typer

from actkit.cli.options.help import PANELS, panel_of, row_of
from actkit.cli.options.presets import FOLDER as PRESETS
from actkit.cli.options.presets import NAMES
from actkit.docs import FOLDER
from actkit.schemas import TABLES, described

MADE = "<!-- made by python -m tests.made_pages: change the code, not this page -->"


def tables() -> str:
    """Every table, column by column."""
    lines = [
        "# Tables",
        "",
        MADE,
        "",
        "`actkit schema TABLE` prints the same; so does the metadata of every Parquet field.",
    ]
    for table in TABLES:
        lines += ["", f"## `{table}`", "", "| column | type | unit | meaning |", "|---|---|---|---|"]
        for column in described(table):
            cells = (f"`{column['name']}`", column["type"], column["unit"], _cell(column["meaning"]))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def options() -> str:
    """Every option of every command."""
    from actkit.cli.app import application

    group: Any = typer.main.get_command(application(()))
    lines = ["# Options", "", MADE, "", "`actkit COMMAND --help-all` prints the same."]
    for name, command in group.commands.items():
        hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)
        shown = [each for each in command.params if not each.hidden and each.name in hints]
        said = " ".join(inspect.cleandoc(command.help).split("\n\n")[0].split())
        lines += ["", f"## `actkit {name}`", "", said, "", "| option | |", "|---|---|"]
        arguments = [each for each in shown if each.param_type_name == "argument"]
        flags = [each for each in shown if each.param_type_name == "option"]
        for parameter in [*arguments, *sorted(flags, key=lambda each: _order(panel_of(each)))]:
            names, text = row_of(parameter, hints, whole=True)
            lines.append(f"| `{_cell(names)}` | {_cell(text)} |")
    return "\n".join(lines) + "\n"


def presets() -> str:
    """Every preset: what it sets."""
    from actkit.cli.options.config_file import read_options

    lines = ["# Presets", "", MADE, "", "`--preset NAME` sets these; flags, `ACTKIT_*` and `--config` win over it."]
    for name in NAMES:
        found = read_options(PRESETS / f"{name}.yaml")
        lines += ["", f"## `{name}`", "", "| option | value |", "|---|---|"]
        lines += [f"| `{key}` | `{value}` |" for key, value in found.items()]
    return "\n".join(lines) + "\n"


def shapes() -> str:
    """Every shape of records that is read."""
    from tests.page_of_shapes import page

    return page(MADE)


PAGES: Mapping[str, Callable[[], str]] = {"tables": tables, "options": options, "presets": presets, "shapes": shapes}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _order(title: str) -> int:
    return PANELS.index(title) if title in PANELS else len(PANELS)


if __name__ == "__main__":
    for page, made in PAGES.items():
        (FOLDER / f"{page}.md").write_text(made(), encoding="utf-8")
