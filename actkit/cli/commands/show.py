"""`actkit show`."""

import json as json_text
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from actkit.cli.options.groups import at_home, option, with_option_groups
from actkit.cli.run_argument import check_run
from actkit.cli.screen.console import ENDLESS, counted, draw_table, say, size
from actkit.cli.screen.summary import written_of
from actkit.errors import UsageError

if TYPE_CHECKING:
    from actkit.report.token_strips import Strip

ONE = "One thing of the run"
"""The panel of `--help` for what is shown instead of the whole."""

PIPED = 110
"""Columns of a token strip where there is no terminal to ask."""
MOST_EXPLAINED = 6
"""Columns whose meanings are printed below a table; of more, the line that prints them."""
WIDEST = 26
"""Characters of a cell; longer ones are cut, since a row should fit a line."""
GAP, INDENT = 2, 2
"""Columns between two cells, and before the rest of a table that is too wide."""


@with_option_groups
def show(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A finished run's directory.", show_default=False, callback=at_home)
    ],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows shown of each table.")] = 3,
    sequences: Annotated[int, typer.Option("--sequences", "-s", min=0, help="Sequences shown token by token.")] = 2,
    json: Annotated[
        bool, typer.Option("--json", help="Print run.json, and those sequences, as one JSON object instead.")
    ] = False,
    table: Annotated[
        str | None, option("--table", "-t", panel=ONE, help="The rows of this table.", show_default=False)
    ] = None,
    columns: Annotated[
        str | None, option("--columns", panel=ONE, help="Its columns, with commas between.", show_default=False)
    ] = None,
    sort: Annotated[
        str | None,
        option("--sort", panel=ONE, help="By this column, the smallest first; -NAME: the largest.", show_default=False),
    ] = None,
    feature: Annotated[
        int | None, option("--feature", panel=ONE, help="This SAE feature, with its contexts.", show_default=False)
    ] = None,
    sequence: Annotated[
        int | None, option("--sequence", panel=ONE, help="This sequence, token by token.", show_default=False)
    ] = None,
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
    # Where there is no terminal there is no edge: a row of a table is one line.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else ENDLESS)
    if table is not None:
        _show_table(run, table, columns, sort, rows, screen, json)
    elif feature is not None:
        _show_feature(run, feature, screen, json)
    elif sequence is not None:
        _show_strips([strip_of_run(run, sequence)], screen, json)
    else:
        _show_whole(run, rows, sequences, screen, json)


def _show_whole(run: Path, rows: int, sequences: int, screen: Console, json: bool) -> None:
    from actkit.report.token_strips import first_strips
    from actkit.runs.facts import facts_of, heads

    facts = facts_of(run)
    strips = first_strips(run, sequences) if sequences else []
    if json:
        shown = {**facts, "first_sequences": [asdict(strip) for strip in strips]}
        sys.stdout.write(json_text.dumps(shown, ensure_ascii=False) + "\n")
        return
    counts = facts["counts"]
    about = f"{run}: {facts['command']} with {facts['model']['name']}, {written_of(facts)}"
    about += f", {counted(counts['sequences'], 'sequence')}, {counted(counts['tokens'], 'token')}"
    screen.print(about, markup=False)
    _show_verdict(run, facts, screen)
    for name, head in heads(run, rows):
        known = facts["tables"][name]
        title = f"  {counted(known['rows'], 'row')}, {size(known['bytes'])}  {run / name}"
        screen.print(Text.assemble("\n", (name, "bold"), title))
        if len(head):
            _draw(head.column_names, head.to_pylist(), screen)
    if strips:
        _show_strips(strips, screen, json=False)


def _show_verdict(run: Path, facts: Mapping[str, Any], screen: Console) -> None:
    """What the command itself printed of its finding, and its warnings."""
    if (run / "reward_features.json").is_file():
        from actkit.cli.screen.ranking import show_ranking

        show_ranking(run, screen)
    elif "concept" in facts and "direction_scores" in facts["tables"]:
        from actkit.cli.screen.directions import show_directions

        show_directions(run, facts, screen)
    elif "steer" in facts and "effects" in facts["tables"]:
        from actkit.cli.screen.effects import show_effects

        show_effects(run, facts, screen)
    for text in facts.get("warnings", ()):
        say("warning", text, screen=screen)


def strip_of_run(run: Path, sequence: int) -> "Strip":
    """One sequence of a run."""
    from actkit.report.token_strips import strip_of

    return strip_of(run, sequence)


def _show_strips(strips: Sequence["Strip"], screen: Console, json: bool) -> None:
    from actkit.cli.screen.token_strip import LEGEND, drawn

    if json:
        sys.stdout.write(json_text.dumps([asdict(strip) for strip in strips], ensure_ascii=False) + "\n")
        return
    screen.print(f"\n[dim]{LEGEND}[/]")
    for strip in strips:
        for line in drawn(strip, min(screen.width, PIPED)):
            screen.print(line, no_wrap=True, crop=False)


def _show_table(
    run: Path, table: str, columns: str | None, sort: str | None, rows: int, screen: Console, json: bool
) -> None:
    from actkit.runs.table_rows import sorted_rows

    named = [word.strip() for word in columns.split(",")] if columns else None
    n, found = sorted_rows(run, table, named, sort, rows)
    if json:
        for row in found.to_pylist():
            sys.stdout.write(json_text.dumps(row, ensure_ascii=False) + "\n")
        return
    screen.print(Text.assemble((table, "bold"), f"  {len(found):,} of {counted(n, 'row')}  {run / table}"))
    if len(found):
        _draw(found.column_names, found.to_pylist(), screen)
        _explain(table, found.column_names, screen)


def _explain(table: str, columns: Sequence[str], screen: Console) -> None:
    """What the columns mean, where they are few; else the line that says it."""
    from actkit.schemas import TABLES, described

    known = {row["name"]: row for row in described(table)} if table in TABLES else {}
    if len(columns) > MOST_EXPLAINED or not known:
        screen.print(f"[dim]what the columns mean: actkit schema {table}[/]")
        return
    for row in (known[name] for name in columns if name in known):
        unit = f" ({row['unit']})" if row["unit"] else ""
        screen.print(Text(f"{row['name']}: {row['meaning']}{unit}", style="dim"))


def _show_feature(run: Path, feature: int, screen: Console, json: bool) -> None:
    from actkit.report.feature_views import pages_of_feature

    for name, page in pages_of_feature(run, feature):
        if json:
            sys.stdout.write(json_text.dumps({**page, "sae": name}, ensure_ascii=False) + "\n")
            continue
        screen.print(Text.assemble((f"feature {feature}", "bold"), f"  {name}"))
        facts = {key: value for key, value in page.items() if isinstance(value, int | float | str) and key != "sae"}
        _draw(list(facts), [facts], screen)
        for context in page["contexts"]:
            screen.print(_context(context, page["scale"]))


def _context(context: Mapping[str, Any], scale: float) -> Text:
    """A context in a line, its strongest token bold."""
    from actkit.plots.style import visible

    line = Text(f"  {context['levels'][context['at']] / 255 * scale:>8.3g}  ")
    begin = 0
    units = context["text"].encode("utf-16-le", "surrogatepass")
    for number, width in enumerate(context["sizes"]):
        piece = units[begin : begin + 2 * width].decode("utf-16-le", "replace")
        begin += 2 * width
        style = "bold yellow" if number == context["at"] else "yellow" if context["levels"][number] else ""
        line.append(visible(piece), style=style)
    return line


def _draw(columns: Sequence[str], rows: Sequence[dict[str, Any]], screen: Console) -> None:
    """The rows, in as many tables below one another as the width needs; columns without a value here are only named."""
    empty = [column for column in columns if all(row[column] in (None, "") for row in rows)]
    cells = {column: [column, *(_cell(row[column]) for row in rows)] for column in columns if column not in empty}
    widths = {column: max(map(cell_len, of)) for column, of in cells.items()}
    for number, band in enumerate(_bands(widths, screen.width - INDENT)):
        drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP // 2))
        for column in band:
            right = all(isinstance(row[column], (int, float)) for row in rows)
            drawn.add_column(column, justify="right" if right else "left", no_wrap=True)
        for at in range(1, len(rows) + 1):
            drawn.add_row(*(Text(cells[column][at]) for column in band))
        if number:
            screen.print(Padding(drawn, (0, 0, 0, INDENT), expand=False))
        else:
            draw_table(drawn, screen)
    if empty:
        screen.print(f"[dim]no value in these rows:[/] {', '.join(empty)}")


def _bands(widths: dict[str, int], most: int) -> Iterator[list[str]]:
    """The columns in order, as many at a time as fit next to one another."""
    band: list[str] = []
    used = 0
    for column, width in widths.items():
        if band and used + GAP + width > most:
            yield band
            band = []
        used = width if not band else used + GAP + width
        band.append(column)
    if band:
        yield band


def _cell(value: Any) -> str:
    if isinstance(value, list):
        first = [
            str(item) if isinstance(item, int) else f"{item:.3f}" for item in value[:3] if not isinstance(item, dict)
        ]
        of_texts = [_cell(f"'{item['token']}'") for item in value[:3] if isinstance(item, dict)]
        return f"[{', '.join(first + of_texts)}{', …' if len(value) > 3 else ''}] × {len(value)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = json_text.dumps(value, ensure_ascii=False)[1:-1]
    else:
        text = "" if value is None else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
