"""Runs, tables, texts and features as static HTML for notebooks: no script, nothing but text between the tags."""

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actkit.numerals import signed
from actkit.plots.style import plain, visible
from actkit.report.feature_views import pieces_of
from actkit.report.header import header, warnings_of

MOST_TOKENS = 1_000
CELL = 60
"""Characters of a cell."""
TABLE = 'style="border-collapse:collapse;font-size:90%"'
LEFT = 'style="text-align:left;padding:1px 10px 1px 0;vertical-align:top"'


def text(value: Any, longest: int | None = None) -> str:
    """Escape a text, name its invisible characters, and cut it after `longest`."""
    return html.escape(visible(str(value)) if longest is None else plain(value, longest))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    titles: Mapping[str, str] | None = None,
    longest: int | None = CELL,
) -> str:
    """Make a table, texts cut after `longest`; `titles` appear where the mouse rests on a column."""
    of = titles or {}
    head = "".join(f'<th {LEFT} title="{text(of.get(name, ""))}">{text(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td {LEFT}>{cell(item, longest)}</td>" for item in row) + "</tr>" for row in rows)
    return f"<table {TABLE}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: Any, longest: int | None = CELL) -> str:
    """A value in a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return signed(value, ".4g")
    if isinstance(value, list):
        shown = ", ".join(signed(item, ".3g") if isinstance(item, float) else str(item) for item in value[:3])
        return text(f"[{shown}{', …' if len(value) > 3 else ''}] × {len(value)}", CELL)
    return text(value, longest)


def run_html(run: Any) -> str:
    """A run: its header, its warnings and its tables."""
    facts = run.facts
    about = table(("", ""), header(run.path, facts), longest=None)  # the line that runs it again is there to be copied
    tables = table(("table", "rows"), ((name, f"{table['rows']:,}") for name, table in facts["tables"].items()))
    warned = "".join(f"<p>⚠ {text(warning)}</p>" for warning in warnings_of(facts))
    return f"<div><b>{text(run.path.name)}</b>{about}{warned}{tables}</div>"


def text_html(view: Mapping[str, Any], levels: Sequence[int]) -> str:
    """Draw a text, each token on a background of its level, 0 to 255."""
    about = ", ".join(
        f"{name} {view[name]}" for name in ("record_id", "side", "label", "n_tokens") if view.get(name) is not None
    )
    pieces = zip(view["texts"][:MOST_TOKENS], itertools.chain(levels, itertools.repeat(0)), strict=False)
    left = len(view["texts"]) - MOST_TOKENS
    more = f" … and {left:,} tokens more" if left > 0 else ""
    return f"<div><p>text {view['sequence_id']}: {text(about)}</p><p>{tokens(pieces)}{more}</p></div>"


def tokens(pieces: Iterable[tuple[str, int]]) -> str:
    """Draw tokens one after another; each keeps its own direction of writing."""
    made = []
    for piece, level in pieces:
        ground = f"background:rgba(224,123,0,{0.08 + 0.72 * level / 255:.2f})" if level else ""
        made.append(f'<bdi style="white-space:pre-wrap;{ground}">{text(piece)}</bdi>')
    return "".join(made)


def feature_html(name: str, page: Mapping[str, Any]) -> str:
    """A feature: its figures and its strongest contexts."""
    shown_of = ("n_active", "density", "mean", "max", "rank", "auroc", "q_value")
    figures = [(key, page[key]) for key in shown_of if key in page]
    rows = []
    for context in page["contexts"]:
        value = context["levels"][context["at"]] / 255 * page["scale"]
        rows.append(
            f"<tr><td {LEFT}>{signed(value, '.3g')}</td>"
            f"<td {LEFT}>{tokens(zip(pieces_of(context), context['levels'], strict=True))}</td></tr>"
        )
    shown = f"<table {TABLE}><tbody>{''.join(rows)}</tbody></table>"
    return f"<div><b>feature {page['id']}</b> of {text(name)}{table(('', ''), figures)}{shown}</div>"
