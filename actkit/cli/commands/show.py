"""`actkit show`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from actkit.cli.options.groups import RunPath, option, with_option_groups
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import ENDLESS, OutputConsole, counted, say, size, write_json
from actkit.cli.screen.summary import show_finding, written_of
from actkit.errors import UsageError

if TYPE_CHECKING:
    from actkit.report.token_strips import Strip

ONE = "One thing of the run"
"""The panel of `--help` for options that show a part of the run instead of the whole."""

PIPED = 110
"""Most columns of a token strip."""
MOST_EXPLAINED = 6
"""Most columns whose meanings are printed below a table; for more, the command that prints them is named."""


@with_option_groups
def show(
    run: RunPath,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows shown of each table.")] = 3,
    sequences: Annotated[int, typer.Option("--sequences", "-s", min=0, help="Sequences shown token by token.")] = 2,
    json: Annotated[
        bool, typer.Option("--json", help="Print run.json, and those sequences, as one JSON object instead.")
    ] = False,
    table: Annotated[str | None, option(ONE, "The rows of this table.", "-t")] = None,
    columns: Annotated[str | None, option(ONE, "Its columns, with commas between.")] = None,
    sort: Annotated[str | None, option(ONE, "By this column, the smallest first; -NAME: the largest.")] = None,
    feature: Annotated[int | None, option(ONE, "This SAE feature, with its contexts.")] = None,
    sequence: Annotated[int | None, option(ONE, "This sequence, token by token.")] = None,
) -> None:
    """What a finished run holds: counts, tables, first rows, what it found, the first sequences token by token.

    Example: [b]actkit show runs/pairs --rows 5[/]

    Example: [b]actkit show runs/feedback --table feature_scores --sort=-auroc --columns rank,feature_id,auroc[/]
    """
    check_run(run, "actkit show")
    given = {"--table": table, "--feature": feature, "--sequence": sequence}
    asked = [flag for flag, value in given.items() if value is not None]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} were both given", "one at a time")
    if (columns or sort) and table is None:
        raise UsageError("--columns and --sort are of one table", "--table NAME")
    # Without a terminal there is no edge, and each row of a table is one line.
    screen = OutputConsole(highlight=False, width=None if sys.stdout.isatty() else ENDLESS)
    if table is not None:
        _show_table(run, table, columns, sort, rows, screen, json)
    elif feature is not None:
        _show_feature(run, feature, screen, json)
    elif sequence is not None:
        from actkit.report.token_strips import strip_of

        _show_strips([strip_of(run, sequence)], screen, json)
    else:
        _show_whole(run, rows, sequences, screen, json)


def _show_whole(run: Path, rows: int, sequences: int, screen: Console, json: bool) -> None:
    from actkit.cli.screen.table_rows import draw_rows
    from actkit.report.token_strips import first_strips
    from actkit.runs.facts import facts_of, heads

    facts = facts_of(run)
    strips = first_strips(run, sequences) if sequences else []
    if json:
        write_json({**facts, "first_sequences": [asdict(strip) for strip in strips]})
        return
    counts = facts["counts"]
    about = f"{run}: {facts['command']} with {facts['model']['name']}, {written_of(facts)}"
    about += f", {counted(counts['sequences'], 'sequence')}, {counted(counts['tokens'], 'token')}"
    screen.print(about, markup=False)
    show_finding(run, facts, screen)
    for text in facts.get("warnings", ()):
        say("warning", text, screen=screen)
    for name, head in heads(run, rows):
        known = facts["tables"][name]
        title = f"  {counted(known['rows'], 'row')}, {size(known['bytes'])}  {run / name}"
        screen.print(Text.assemble("\n", (name, "bold"), title))
        if len(head):
            draw_rows(head.column_names, head.to_pylist(), screen)
    if strips:
        _show_strips(strips, screen, json=False)


def _show_strips(strips: Sequence["Strip"], screen: Console, json: bool) -> None:
    from actkit.cli.screen.token_strip import LEGEND, drawn

    if json:
        write_json([asdict(strip) for strip in strips])
        return
    screen.print(f"\n[dim]{LEGEND}[/]")
    for strip in strips:
        for line in drawn(strip, min(screen.width, PIPED)):
            screen.print(line, no_wrap=True, crop=False)


def _show_table(
    run: Path, table: str, columns: str | None, sort: str | None, rows: int, screen: Console, json: bool
) -> None:
    from actkit.cli.screen.table_rows import draw_rows, sorted_rows

    named = [word.strip() for word in columns.split(",")] if columns else None
    n, found = sorted_rows(run, table, named, sort, rows)
    if json:
        for row in found.to_pylist():
            write_json(row)
        return
    screen.print(Text.assemble((table, "bold"), f"  {len(found):,} of {counted(n, 'row')}  {run / table}"))
    if len(found):
        draw_rows(found.column_names, found.to_pylist(), screen)
        _explain(table, found.column_names, screen)


def _explain(table: str, columns: Sequence[str], screen: Console) -> None:
    """Print the columns' meanings where they are few, else the command line that prints them."""
    from actkit.schemas import TABLES, described

    known = {row["name"]: row for row in described(table)} if table in TABLES else {}
    if len(columns) > MOST_EXPLAINED or not known:
        screen.print(f"[dim]what the columns mean: actkit schema {table}[/]")
        return
    for row in (known[name] for name in columns if name in known):
        unit = f" ({row['unit']})" if row["unit"] else ""
        screen.print(Text(f"{row['name']}: {row['meaning']}{unit}", style="dim"))


def _show_feature(run: Path, feature: int, screen: Console, json: bool) -> None:
    from actkit.cli.screen.table_rows import draw_rows
    from actkit.report.feature_views import pages_of_feature

    for name, page in pages_of_feature(run, feature):
        if json:
            write_json({**page, "sae": name})
            continue
        screen.print(Text.assemble((f"feature {feature}", "bold"), f"  {name}"))
        facts = {key: value for key, value in page.items() if isinstance(value, int | float | str) and key != "sae"}
        draw_rows(list(facts), [facts], screen)
        for context in page["contexts"]:
            screen.print(_context(context, page["scale"]))


def _context(context: Mapping[str, Any], scale: float) -> Text:
    """Draw a context as a line, its strongest token bold."""
    from actkit.plots.style import visible
    from actkit.report.feature_views import pieces_of

    line = Text(f"  {context['levels'][context['at']] / 255 * scale:>8.3g}  ")
    for number, piece in enumerate(pieces_of(context)):
        style = "bold yellow" if number == context["at"] else "yellow" if context["levels"][number] else ""
        line.append(visible(piece), style=style)
    return line
