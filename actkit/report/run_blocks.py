"""The part of a page that holds one run: blocks of whole texts, blocks of feature pages, and an index of both.

Texts come first, until their share of the limit is used. A context in one of them needs no text of its own. Features
follow until the limit is reached: the densest first, of a ranking those at either end. The page lists its omissions.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from actkit.plots.picture import Drawn, LackingError, Pick
from actkit.plots.pictures import drawn, pictures_of
from actkit.report.feature_views import PLACES, Window, cut_all, feature_view, known_of, logits_of, windows_of
from actkit.report.features_in_order import features_in_order, ordered_features
from actkit.report.pack import packed
from actkit.report.projections import projections_of
from actkit.report.text_views import Scale, scales_of, views_of_part
from actkit.report.token_index import TokenIndex, token_index
from actkit.runs.reader import parts
from actkit.runs.run import Run

TEXT_SHARE, FEATURE_SHARE = 0.55, 0.4
"""Shares of the limit. The texts of a run without features get both."""
BLOCK = 96_000
"""Characters of JSON in a block of texts, about. A browser unpacks a whole block to show one text."""
FEATURES_A_BLOCK = 24
BATCH = 4096
"""Features whose windows are in memory together."""
CONTEXT_BYTES = 260
"""Bytes of a context with its text, in the page."""
ROWS = 5_000
"""Rows of a table in the page."""
SNIPPET = 90
Write = Callable[[str, str], int]
"""Writes a named block; returns its size."""


@dataclass
class Page:
    """The state of a run's part of a page while it is written."""

    run: Run
    number: int
    scales: list[Scale] = field(default_factory=list)
    sequences: list[list[Any]] = field(default_factory=list)
    """[sequence_id, record_id, side, label, n_tokens, block, beginning of the text, parent_id]."""
    features: list[list[list[Any]]] = field(default_factory=list)
    """For each SAE: [feature_id, n_active, density, largest activation, block, rank, auroc, q]."""
    n_sequences: int = 0
    n_alive: list[int] = field(default_factory=list)
    tokens: TokenIndex | None = None


def drawn_pictures(run: Run) -> list[tuple[str, str, Drawn | LackingError]]:
    """Draw a run's pictures: name, description, and the picture or the sentence in its place."""
    found: list[tuple[str, str, Drawn | LackingError]] = []
    for picture in pictures_of(run):
        try:
            found.append((picture.name, picture.shows, drawn(picture, run, Pick())))
        except LackingError as error:
            found.append((picture.name, picture.shows, error))
    return found


def write_run(page: Page, budget: int, write: Write) -> None:
    """Write the blocks of one run, within about `budget` bytes."""
    run = page.run
    saes = run.facts.get("saes", ())
    page.scales = scales_of(run.path, saes)
    used = _write_texts(page, round(budget * (TEXT_SHARE if saes else TEXT_SHARE + FEATURE_SHARE)), write)
    if saes:
        page.tokens = token_index(run.path)
        left = budget * (TEXT_SHARE + FEATURE_SHARE) - used
        for number in range(len(saes)):
            page.tokens.start_sae()
            left -= _write_features(page, number, round(left / (len(saes) - number)), write)


def index_of(page: Page) -> dict[str, Any]:
    """Data of one run for the page's script."""
    tokens = page.tokens.found() if page.tokens else []
    return run_index(page.run, page.scales, page.sequences, page.features, tokens, missing(page))


def run_index(
    run: Run, scales: Sequence[Scale], sequences: list[Any], features: list[Any], tokens: list[Any], missing: list[str]
) -> dict[str, Any]:
    """Make a run's data for a page's script from the lists of a `Page`."""
    return {
        "name": run.path.resolve().name,
        "command": run.facts["command"],
        "saes": [{"name": sae["name"], "d_sae": sae["d_sae"]} for sae in run.facts.get("saes", ())],
        "scales": [[float(f"{largest:.4g}") for largest in scale.maxima.tolist()] for scale in scales],
        "sequences": sequences,
        "features": features,
        "tokens": tokens,
        "missing": missing,
    }


def missing(page: Page) -> list[str]:
    """Sentences on the parts of the run that the page leaves out."""
    name = page.run.path.name
    found = []
    if len(page.sequences) < page.n_sequences:
        found.append(f"{len(page.sequences):,} of {page.n_sequences:,} texts are in this page")
    for sae, (features, alive) in enumerate(zip(page.features, page.n_alive, strict=True)):
        there = sum(1 for row in features if row[4] is not None)
        if there < alive:
            of = page.run.facts["saes"][sae]["name"]
            found.append(f"{there:,} of the {alive:,} active features of {of} have a page here")
    return [f"{sentence}; actkit view {name} has all" for sentence in found]


def _write_texts(page: Page, budget: int, write: Write) -> int:
    """Write whole texts in order until the budget is used, and list the others, up to ROWS."""
    page.n_sequences = n_texts(page.run)
    used = 0
    for number, block in enumerate(_text_blocks(page)):
        name = f"text-{page.number}-{number}"
        used += write(name, packed(block))
        page.sequences += [_listed(view, name) for view in block]
        if used >= budget:
            break
    return used


def _text_blocks(page: Page) -> Iterator[list[dict[str, Any]]]:
    block: list[dict[str, Any]] = []
    size = 0
    projections = projections_of(page.run)
    for part in parts(page.run.path, "sequences"):
        for view in views_of_part(page.run.path, part, page.scales, projections):
            block.append(view)
            size += len(json.dumps(view, ensure_ascii=False))
            if size >= BLOCK:
                yield block
                block, size = [], 0
    if block:
        yield block


def _listed(view: dict[str, Any], block: str) -> list[Any]:
    skip = set(view["special"])
    text = beginning("".join(text for at, text in enumerate(view["texts"][: 2 * SNIPPET]) if at not in skip))
    about = [view["sequence_id"], view["record_id"], view.get("side"), view.get("label"), view["n_tokens"]]
    return [*about, block, text, view["parent"]]


def beginning(text: str) -> str:
    """The beginning of a text, for a list."""
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1].rstrip()}…"


def n_texts(run: Run) -> int:
    """Count the sequences that a page lists: all but those that others begin with."""
    table = run.table("sequences", ["sequence_id", "parent_id"])
    return len(table) - len(pc.unique(pc.drop_null(table["parent_id"])))


def _write_features(page: Page, sae: int, budget: int, write: Write) -> int:
    """Write the pages of one SAE's features, in batches that fit into memory."""
    run, scale = page.run, page.scales[sae]
    order, rows = ordered_features(run, scale)
    page.features.append(rows)
    page.n_alive.append(len(order))
    inside = {row[0] for row in page.sequences}
    used, done, counted = 0, 0, False
    while (done < len(order) and used < budget) or not counted:
        batch = order[done : done + BATCH]
        known = known_of(run.path, scale.sae, batch) if batch else {}
        windows = _windows(page, sae, known, counted)
        counted = True
        if not batch:
            break
        # A context in a text of the page costs little.
        fitting, room = [], budget - used
        for feature in batch:
            outside = sum(1 for window in windows.get(feature, ()) if window.sequence not in inside)
            room -= outside * CONTEXT_BYTES + 25 * (len(windows.get(feature, ())) - outside) + 200
            if room < 0:
                break
            fitting.append(feature)
        cut_all(
            run.path, (window for feature in fitting for window in windows[feature] if window.sequence not in inside)
        )
        used += _write_pages(page, sae, done, fitting, windows, known, write)
        done += len(batch)
        if len(fitting) < len(batch):
            break
    return used


def _windows(page: Page, sae: int, wanted: dict[int, dict[str, Any]], counted: bool) -> dict[int, list[Window]]:
    """Return the contexts of the `wanted` features; unless `counted`, also count every feature on token texts."""
    run, scale, tokens = page.run, page.scales[sae], page.tokens
    assert tokens is not None
    windows: dict[int, list[Window]] = {}
    for feature, rows in features_in_order(run.path, scale.sae, len(scale.maxima)):
        if feature not in wanted and counted:
            continue
        at = tokens.rows(rows)
        if not counted:
            tokens.count(feature, at)
        if feature in wanted:
            windows[feature] = windows_of(feature, rows, scale, wanted[feature], tokens.is_special(at))
            wanted[feature] = {name: value for name, value in wanted[feature].items() if name not in PLACES}
    return windows


def _write_pages(
    page: Page,
    sae: int,
    start: int,
    features: list[int],
    windows: dict[int, list[Window]],
    known: dict[int, dict[str, Any]],
    write: Write,
) -> int:
    """Write the pages of some features, the first of which is row `start` of the SAE's table."""
    run, scale, used = page.run, page.scales[sae], 0
    for first in range(0, len(features), FEATURES_A_BLOCK):
        group = features[first : first + FEATURES_A_BLOCK]
        logits = logits_of(run.path, scale.sae, group)
        name = f"feature-{page.number}-{sae}-{start + first}"
        pages = []
        for row, feature in enumerate(group, start + first):
            for window in windows[feature]:
                if window.text is None:  # its text is in the page already
                    levels = [[at, level] for at, level in sorted(window.levels.items())]
                    window.text = {"sequence": window.sequence, "position": window.position, "near": levels}
                    if window.quantile is not None:
                        window.text["quantile"] = window.quantile
            pages.append(feature_view(sae, feature, scale, known[feature], windows[feature], logits.get(feature)))
            page.features[sae][row][4] = name
            windows.pop(feature)
        used += write(name, packed(pages))
    return used
