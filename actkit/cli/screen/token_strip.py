"""Token strips: a sequence drawn as its tokens, with marks under tokens that were read and their largest feature."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len
from rich.text import Text

from actkit.cli.screen.console import packed
from actkit.report.token_strips import Strip

AROUND = 8
"""Tokens shown on each side of a place of interest; longer stretches between are left out."""
SMALL_GAP = 2
LONGEST = 22
"""Most columns of a token; longer tokens are cut."""
BOUNDARY, BRANCH = "┃", "╎"
LEGEND = f"─ read   {BOUNDARY} the response begins   {BRANCH} leaves what it shares   number: the largest feature there"


@dataclass(frozen=True)
class _Cell:
    """One column of a strip: a token above, marks below."""

    token: str
    mark: str
    feature: str
    style: str

    @property
    def width(self) -> int:
        return max(cell_len(self.token), cell_len(self.feature))


def drawn(strip: Strip, width: int) -> Iterator[Text]:
    """Draw the lines of a strip, for a terminal of `width` columns."""
    yield Text(_title(strip), style="bold")
    for line in packed(((cell, cell.width) for cell in _cells(strip)), width - 2, gap=1):
        yield Text("  ").append_text(_joined([(cell.token, cell.style) for cell in line], line))
        marks = [(cell.mark * cell.width if cell.mark == "─" else cell.mark, "cyan") for cell in line]
        if any(mark for mark, _ in marks):
            yield Text("  ").append_text(_joined(marks, line))
        if any(cell.feature for cell in line):
            yield Text("  ").append_text(_joined([(cell.feature, "yellow") for cell in line], line))


def _title(strip: Strip) -> str:
    read = sum(token.read for token in strip.tokens)
    about = [f"sequence {strip.sequence_id}", f"record {strip.record_id}"]
    about += [word for word in (strip.side, strip.label) if word]
    return f"{', '.join(about)}: {len(strip.tokens):,} tokens" + (f", {read:,} read" if read else "")


def _cells(strip: Strip) -> Iterator[_Cell]:
    last = -1
    for position in _shown(strip):
        if position > last + 1:
            yield _Cell(f"… {position - last - 1} …", "", "", "dim")
        last = position
        if position == strip.response_start:
            yield _Cell(BOUNDARY, BOUNDARY, "", "bold magenta")
        if position == strip.start and strip.start > 0:
            yield _Cell(BRANCH, BRANCH, "", "bold magenta")
        token = strip.tokens[position]
        feature = f"{token.features[0][0]}:{token.features[0][1]:.3g}" if token.features else ""
        style = "dim" if token.is_special else "bold" if token.read else ""
        yield _Cell(visible(token.text), "─" if token.read else "", feature, style)
    if last < len(strip.tokens) - 1:
        yield _Cell(f"… {len(strip.tokens) - 1 - last} …", "", "", "dim")


def _shown(strip: Strip) -> list[int]:
    """The positions around the first, the boundary, the branch, the last that was read, and the largest activation."""
    read = [token.position for token in strip.tokens if token.read]
    fired = [token for token in strip.tokens if token.features and not token.is_special]
    places = [0, *((strip.response_start,) if strip.response_start is not None else ()), strip.start, *read[-1:]]
    places += [token.position for token in sorted(fired, key=lambda token: -token.features[0][1])[:1]]
    near = [at for at in range(len(strip.tokens)) if any(abs(at - place) <= AROUND for place in places)]
    # A gap of a token or two is filled, since leaving it out would save nothing.
    gaps = [range(a + 1, b) for a, b in pairwise([*near, len(strip.tokens)]) if b - a <= SMALL_GAP + 1]
    return sorted({*near, *(at for gap in gaps for at in gap)})


def visible(text: str) -> str:
    """Make a token visible: spaces as `·`, line breaks as `⏎`, control characters by their codes; cut if long."""
    shown = text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in shown) or "∅"
    while cell_len(shown) > LONGEST:
        shown = shown[: min(len(shown) - 2, LONGEST - 1)] + "…"
    return shown


def _joined(parts: Sequence[tuple[str, str]], line: Sequence[_Cell]) -> Text:
    text = Text()
    for (part, style), cell in zip(parts, line, strict=True):
        text.append(part, style=style).append(" " * (cell.width - cell_len(part) + 1))
    text.rstrip()
    return text
