"""`actkit peek`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actkit.cli.options.groups import Columns, ModelName, Split, argument, with_option_groups
from actkit.cli.screen.console import OutputConsole, counted, draw_table, starting, write_json
from actkit.cli.screen.pasted import to_paste
from actkit.config import ModelSpec, ReadSpec
from actkit.errors import listed, printable
from actkit.pipeline.input import formats
from actkit.pipeline.rejections import remedy

if TYPE_CHECKING:
    from actkit.recipes.peeking.peek import Peek, Reading

WIDEST = 400
"""Most characters of a record's text that are shown."""
MOST_LABELS = 6


@with_option_groups
def peek(
    file: Annotated[str, argument("FILE", f"{formats.HELP}; or {formats.ALSO}.")],
    model: ModelName = ModelSpec.name,
    split: Split = ReadSpec.split,
    columns: Columns = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """What a file is, which commands can read it, how each would, and the line to type.

    The first records are read and prepared with the model's tokenizer; its weights are not loaded, and nothing is
    written.

    Example: [b]actkit peek pairs.jsonl[/]

    Example: [b]actkit peek train.parquet --model google/gemma-2-2b-it --json[/]
    """
    with starting(json):
        from actkit.backends import describe
        from actkit.recipes.peeking.peek import peek as look

    found = look(file, describe(ModelSpec(model)), model, ReadSpec(split, columns))
    if json:
        write_json(_facts(found))
    else:
        _draw(found, model)


def _facts(found: "Peek") -> dict[str, Any]:
    return {
        "file": found.path,
        "format": found.format,
        "records": found.records,
        "exact": found.exact,
        "first_rejected": found.rejected or None,
        "columns": {column.name: column.facts() for column in found.columns},
        "roles": found.roles,
        "joined": found.joined,
        "commands": {reading.command: _reading(reading) for reading in found.readings},
    }


def _reading(reading: "Reading") -> dict[str, Any]:
    return {
        "reads": reading.kept > 0,
        "line": reading.line if reading.kept else None,
        "looked_at": reading.read,
        "kept": reading.kept,
        "first_rejected": reading.why or None,
        "shapes": reading.shapes,
        "fields_read": reading.fields_read,
        "fields_left": reading.fields_left,
        "tokens": _tokens(reading),
        "labels": reading.labels,
        "labels_mean": reading.meant or None,
        "labels_guessed": reading.guessed,
        "text": reading.text or None,
    }


def _tokens(reading: "Reading") -> dict[str, int] | None:
    lengths = sorted(reading.lengths)
    return {"min": lengths[0], "median": lengths[len(lengths) // 2], "max": lengths[-1]} if lengths else None


def _draw(found: "Peek", model: str) -> None:
    screen = OutputConsole(highlight=False, soft_wrap=not sys.stdout.isatty())
    about = "" if found.exact or found.records is None else "about "
    count = "an unknown number of records" if found.records is None else about + counted(found.records, "record")
    screen.print(Text.assemble((found.path, "bold"), f": {found.format}, {count}"))
    if found.rejected:
        screen.print(f"  cannot be read: {found.rejected}", markup=False)
        if (hint := remedy(found.rejected)) is not None:
            screen.print(f"  {to_paste(hint)}", markup=False)
    if found.columns:
        draw_table(_columns(found), screen)
    if found.roles:
        screen.print(f"roles: {', '.join(f'{role} ({n:,})' for role, n in found.roles.items())}", markup=False)
    for reading in found.readings:
        if reading.kept:
            _draw_reading(reading, model, screen)
    reasons: dict[str, list[str]] = {}
    for reading in found.readings:
        if not reading.kept:
            reasons.setdefault(to_paste(reading.why), []).append(reading.command)
    for why, commands in reasons.items():
        screen.print(Text.assemble("not ", (", ".join(commands), "bold"), f": {why}"))
    if found.joined is not None:
        from actkit.recipes.peeking.questions import MADE  # loads torch, which no help needs

        screen.print(
            f"\nthis writes all that is asked into one field, which actkit capture {MADE} reads:", markup=False
        )
        screen.print(Text.assemble((to_paste(found.joined), "bold green")))


def _columns(found: "Peek") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("column", "type", "examples"):
        table.add_column(title, overflow="fold")
    for column in found.columns:
        kinds = ", ".join(kind if len(column.kinds) == 1 else f"{kind} ({n:,})" for kind, n in column.kinds.items())
        shown = listed([f"{label} ({n:,})" for label, n in column.labels.items()], MOST_LABELS)
        table.add_row(Text(column.name), Text(kinds), Text(shown or " | ".join(column.examples)))
    return table


def _draw_reading(reading: "Reading", model: str, screen: Console) -> None:
    screen.print(Text.assemble(("\n" + reading.line, "bold green")))
    tokens = _tokens(reading)
    of = f"{reading.kept:,} of its first {counted(reading.read, 'record')}"
    length = (
        f", {tokens['min']:,} to {tokens['max']:,} tokens of {model} (median {tokens['median']:,})" if tokens else ""
    )
    screen.print(f"  {of}{length}", markup=False)
    for name, values in (("shape", reading.shapes), ("reads", reading.fields_read), ("leaves", reading.fields_left)):
        if values:
            screen.print(f"  {name}: {', '.join(values)}", markup=False)
    if reading.labels:
        counts = ", ".join(f"{label} ({n:,})" for label, n in reading.labels.items())
        screen.print(f"  labels: {counts}{': ' if reading.meant else ''}{reading.meant}", markup=False)
    if reading.guessed:
        screen.print("  which label is the positive one is not told by their words: exchange them if it is the other")
    if reading.why:
        screen.print(f"  the first rejected: {reading.why}", markup=False)
    text = reading.text if len(reading.text) <= WIDEST else f"{reading.text[:WIDEST]}…"
    screen.print(Text.assemble("  sees: ", (printable(text, "\n"), "dim")))
