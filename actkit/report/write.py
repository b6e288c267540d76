"""One self-contained page of one or two finished runs, written as it is made.

The page's own script and plotly.js are the only things in it that run: the policy names the first by its hash, and the
second is unpacked into a `blob:`. All else is text that jinja escapes, or base64. The same runs give the same bytes.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import jinja2
import markupsafe
from plotly.offline import get_plotlyjs

from actkit.errors import RunError
from actkit.plots.picture import Drawn
from actkit.plots.style import visible
from actkit.report.header import header, warnings_of
from actkit.report.pack import packed, packed_bytes
from actkit.report.run_blocks import Page, drawn_pictures, index_of, write_run
from actkit.report.two_runs import differences, joined_features, share_axes
from actkit.runs.atomic_files import write_whole
from actkit.runs.run import Run

FOLDER = Path(__file__).parent
LIMIT_MB = 25
MOST_RUNS = 2
MARK = "<!--blocks-->"


@dataclass(frozen=True)
class _Shown:
    name: str
    header: list[tuple[str, str]]
    warnings: list[str]
    has_features: bool


def write_report(runs: Sequence[Run], path: Path, limit_mb: float = LIMIT_MB) -> Path:
    """Write the page, of about `limit_mb` at most. The page names what did not fit.

    Raises RunError for more than two runs, WriteError where it cannot be written.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise RunError(f"{len(runs)} runs: a report is of one or two", "actkit report RUN [RUN2]")
    write_whole(path, lambda file: _write(file, runs, limit_mb))
    return path


def _write(file: IO[bytes], runs: Sequence[Run], limit_mb: float) -> None:
    pictures = [drawn_pictures(run) for run in runs]
    head, tail, blocks = page_parts(runs, pictures)
    written = file.write(head.encode("utf-8", "replace")) + file.write(block_elements(blocks))

    def write(name: str, base64_text: str) -> int:
        return file.write(_element(name, base64_text))

    budget = limit_mb * 1e6 - written - len(tail)
    pages = [Page(run, number) for number, run in enumerate(runs)]
    for page in pages:
        write_run(page, round(max(budget, 0) / len(pages)), write)
    write("index", packed([index_of(page) for page in pages]))
    file.write(tail.encode("utf-8", "replace"))


def _footnotes(has_features: bool) -> list[str]:
    if not has_features:
        return ["j and k go to the next and the one before, Escape back here."]
    return [
        "Activations of tokens are shown in 255 steps of their feature's largest one: off by at most a 510th of it, "
        "the weakest by a 255th.",
        "j and k go to the next and the one before, / to the search, Escape back here.",
    ]


def page_parts(
    runs: Sequence[Run], pictures: Sequence[Sequence[tuple[str, str, Any]]], live: bool = False
) -> tuple[str, str, dict[str, Any]]:
    """Return the page's text before its blocks and after them, and the blocks of its figures."""
    script = script_text()
    shown = [
        _Shown(
            run.path.resolve().name, header(run.path, run.facts), warnings_of(run.facts), bool(run.facts.get("saes"))
        )
        for run in runs
    ]
    sections, blocks = _sections(pictures)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_seen
    )
    text = environment.from_string((FOLDER / "page.html.j2").read_text(encoding="utf-8")).render(
        policy=policy(script, live),
        version=runs[0].facts.get("versions", {}).get("actkit", ""),
        title=" and ".join(run.name for run in shown),
        # The package's own style and script are not escaped.
        style=markupsafe.Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=markupsafe.Markup(script),
        runs=shown,
        differences=differences(*(run.facts for run in runs)) if len(runs) == MOST_RUNS else [],
        joined=joined_features(*runs) if len(runs) == MOST_RUNS else None,
        pictures=sections,
        notes=_footnotes(any(run.has_features for run in shown)),
    )
    if live:
        text = text.replace("<html ", '<html data-live="true" ', 1)
    head, _, tail = text.partition(MARK)
    return head, tail, blocks


def _sections(pictures: Sequence[Sequence[tuple[str, str, Any]]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the pictures, and the blocks of their figures. Pictures of two runs share axes, side by side."""
    by_name: dict[str, list[tuple[int, Any]]] = {}
    headings: dict[str, str] = {}
    for number, of_run in enumerate(pictures):
        for name, shows, drawn in of_run:
            by_name.setdefault(name, []).append((number, drawn))
            headings[name] = shows[:1].upper() + shows[1:]
    sections, blocks = [], {}
    for name, sides in by_name.items():
        both = [drawn for _, drawn in sides if isinstance(drawn, Drawn)]
        figures = {id(drawn): json.loads(drawn.figure.to_json()) for drawn in both}
        if len(both) == MOST_RUNS:
            share_axes(*(figures[id(drawn)] for drawn in both))
        shown = []
        for number, drawn in sides:
            if isinstance(drawn, Drawn):
                block = f"plot-{number}-{name}"
                blocks[block] = {**figures[id(drawn)], "opens": drawn.opens}
                about = {"title": drawn.title, "says": drawn.says, "query": _lines(drawn.query)}
                shown.append({"run": number, **about, "plot": block})
            else:
                shown.append({"run": number, "title": headings[name], "says": drawn.message, "query": "", "plot": None})
        sections.append({"name": name, "sides": shown})
    return sections, blocks


def script_text() -> str:
    """The page's own script."""
    return (FOLDER / "page.js").read_text(encoding="utf-8")


def policy(script: str, live: bool = False) -> str:
    """The page's content security policy."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
        f"{connect}base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=1)
def plotly_packed() -> str:
    """plotly.js of the installed plotly, packed."""
    return packed_bytes(get_plotlyjs().encode())


def _element(name: str, base64_text: str) -> bytes:
    """A block: an element that a browser neither runs nor shows."""
    return f'<script type="text/plain" id="b-{name}">{base64_text}</script>\n'.encode("ascii")


def block_elements(blocks: dict[str, Any]) -> bytes:
    """Blocks as elements, plotly.js first."""
    return _element("plotly", plotly_packed()) + b"".join(
        _element(name, packed(value)) for name, value in blocks.items()
    )


def _seen(value: Any) -> Any:
    """Name every invisible character of a text, except in the page's own markup. Jinja escapes the text afterwards."""
    return visible(value) if isinstance(value, str) and not isinstance(value, markupsafe.Markup) else value


def _lines(text: str) -> Any:
    """Keep the line breaks of a query."""
    return markupsafe.Markup("\n").join(visible(line) for line in text.split("\n"))
