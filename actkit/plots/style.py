"""The style of every picture: colours that colour-blind readers tell apart, light and dark, and labels without markup."""

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from actkit.numerals import signed

BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY = (
    "#2b7bba",
    "#e07b00",
    "#009e73",
    "#b65c94",
    "#56b4e9",
    "#d6a400",
    "#8a8a8a",
)
"""Okabe and Ito's colours (jfly.uni-koeln.de/color), with blue and vermilion changed to show on white and on black."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
DASHES = ("solid", "dash", "dot", "dashdot")
"""Lines differ in dashes too, so that a page printed without colours can be read."""
MARKS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
AMOUNT = ((0.0, "#f4f4f2"), (1.0, "#f2a23c"))
"""For amounts behind a dark text."""
HEAT = ((0.0, "#414d6b"), (1 / 3, "#7c7b78"), (2 / 3, "#bcae6c"), (1.0, "#fee838"))
"""For amounts: cividis (doi:10.1371/journal.pone.0199239), even for colour-blind eyes and monotone in grey.

Its darkest quarter is left out, since nobody could tell it from a dark page."""
DIVERGING = ((0.0, "#e07b00"), (0.5, "#f4f4f2"), (1.0, "#2b7bba"))
"""For signed numbers, with 0 in the middle."""
SIGNED_AMOUNT = ((0.0, "#f2a23c"), (0.5, "#f4f4f2"), (1.0, "#7db8e6"))
"""For signed numbers behind a dark text."""
LIGHT = {"font": "#1c1c1c", "paper": "#ffffff", "grid": "#e3e3e0", "zero": "#9a9a96"}
DARK = {"font": "#e6e6e3", "paper": "#16181b", "grid": "#34373b", "zero": "#7d8085"}
FAMILY = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
HEIGHT, WIDTH = 420, 860
LONGEST = 60
"""Characters of a label."""
INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))
MAX_POINTS = 20_000
FEW = 8
"""Most counts of an axis that marks each count."""
TITLE_WIDTH = 14
"""Characters in a line of a colour bar's title."""
LOG = {"type": "log", "dtick": "D2", "tickformat": "~g"}
"""A logarithmic axis with marks at 1, 2 and 5. Without a format plotly writes 5 for 0.5 and for 50 alike."""
FEWEST = 1e-7
"""The smallest share with a mark on an axis."""
DETAIL = 0.001
"""A logarithmic axis of shares that begins below this marks powers of ten alone."""
CATEGORIES = {"type": "category", "autorange": "reversed", "showgrid": False}
"""An axis of names, downwards, such as the numbers of features."""
SMALL = 12
"""Pixels of the sentence under a title in a file."""


def label(text: Any, longest: int = LONGEST) -> str:
    """Make a text of a run safe for plotly: no tag, entity, line break, or character that turns or hides text."""
    # Plotly reads a few tags and entities in every label, and `%{…}` in templates.
    return html.escape(plain(text, longest), quote=False).replace("%{", "%&#123;")


def plain(text: Any, longest: int = LONGEST) -> str:
    """Shorten a text of a run for a title or a sentence, and show its invisible characters. It is not escaped yet."""
    shown = visible(str(text))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def visible(text: str) -> str:
    """Show line breaks as ⏎, tabs as ⇥, and each invisible character as ⟨U+…⟩."""
    shown = text.replace("\r\n", "\n").replace("\n", "⏎").replace("\t", "⇥")
    return "".join(
        f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in INVISIBLE else character
        for character in shown
    )


def figure(*traces: Any, height: int = HEIGHT) -> go.Figure:
    """A figure in the house's style, light."""
    return _styled(go.Figure(data=list(traces)), height)


def panels(
    columns: int, titles: Sequence[str] = (), widths: Sequence[float] | None = None, height: int = HEIGHT
) -> go.Figure:
    """Figures side by side; traces are added with `row=1, col=…`."""
    spacing = 0.17 if columns > 1 else 0
    made = make_subplots(1, columns, subplot_titles=titles or None, column_widths=widths, horizontal_spacing=spacing)
    made.update_annotations(font_size=13)
    return _styled(made, height, below_titles=bool(titles))


def _styled(made: go.Figure, height: int, below_titles: bool = False) -> go.Figure:
    made.update_layout(
        template="none",
        height=height,
        margin={"l": 70, "r": 24, "t": 44 if below_titles else 24, "b": 62},
        font={"family": FAMILY, "size": 13},
        # Above the axes: below them it meets their titles as soon as it takes two lines.
        legend={"orientation": "h", "y": 1.1 if below_titles else 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"align": "left"},
        colorway=list(COLOURS),
    )
    axis = {"showline": True, "ticks": "outside", "automargin": True, "zeroline": False}
    made.update_xaxes(**axis)
    made.update_yaxes(**axis)
    return themed(made, dark=False)


def themed(made: go.Figure, dark: bool) -> go.Figure:
    """Make a figure light or dark, in place."""
    of = DARK if dark else LIGHT
    made.update_layout(font_color=of["font"], paper_bgcolor=of["paper"], plot_bgcolor=of["paper"])
    for update in (made.update_xaxes, made.update_yaxes):
        update(gridcolor=of["grid"], linecolor=of["zero"], tickcolor=of["zero"], zerolinecolor=of["zero"])
    return made


def wrapped(text: str, width: int) -> list[str]:
    """Split a sentence into lines."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def shares(least: float = 0.0) -> dict[str, Any]:
    """An axis of shares, marked in percent: from 0 to 1, or logarithmic from `least` on."""
    if not least:
        marks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    else:
        steps = (1,) if least < DETAIL else (1, 2, 5)
        powers = [10.0**power for power in range(round(math.log10(FEWEST)), 1)]
        marks = [step * power for power in powers for step in steps if step * power <= 1]
    percents = [100 * mark for mark in marks]
    texts = [f"{signed(mark, '.0e') if 0 < mark < 1e-4 else f'{mark:g}'} %" for mark in percents]
    return {**({"type": "log"} if least else {}), "tickvals": marks, "ticktext": texts}


def counts(most: float) -> dict[str, Any]:
    """An axis of counts up to `most`: whole numbers, from 0 on."""
    return {"rangemode": "tozero", "tickformat": ",d", **({"dtick": 1} if most <= FEW else {})}


def wholes(values: Iterable[int]) -> dict[str, Any]:
    """An axis of positions or lengths: whole numbers, also where there are few of them."""
    found = list(values)
    few = max(found, default=0) - min(found, default=0) <= FEW
    return {"tickformat": ",d", **({"dtick": 1} if few else {})}


def layer_axis(made: go.Figure, layers: Sequence[int]) -> None:
    """Set the x axis to layers: whole numbers, not one mark a layer where there are many."""
    n = len(set(layers))
    made.update_xaxes(title="layer", dtick=1 if n <= 16 else 2 if n <= 36 else 5, tickformat="d")


def colour_bar(title: str) -> dict[str, Any]:
    """A colour bar with its title above it, in lines so short that they take no width from the picture."""
    text = "<br>".join(wrapped(title, TITLE_WIDTH))
    return {"title": {"text": text, "side": "top"}, "thickness": 12, "lenmode": "fraction", "len": 1}


def titles_apart(made: go.Figure) -> go.Figure:
    """Move the axis titles of a figure clear of the labels, in place, and return the figure."""
    made.update_xaxes(title_standoff=8)
    made.update_yaxes(title_standoff=10)
    return made


def titled(made: go.Figure, title: str, says: str, width: int = WIDTH) -> go.Figure:
    """Write title and sentence into a figure, in place, for a file of its own; return the figure."""
    lines = wrapped(says, 118)
    text = f"<b>{label(title, 120)}</b>" + "".join(
        f"<br><span style='font-size:{SMALL}px'>{label(line, 140)}</span>" for line in lines
    )
    more = 56 + 22 * len(lines) + 20 * _legend_lines(made, width)
    height = (made.layout.height or HEIGHT) + more
    made.update_layout(
        title={"text": text, "x": 0.01, "xanchor": "left", "y": 1 - 26 / height, "yanchor": "top", "yref": "container"},
        margin_t=(made.layout.margin.t or 0) + more,
        width=width,
        height=height,
    )
    return made


def _legend_lines(made: go.Figure, width: int) -> int:
    """Lines that the legend takes, about."""
    names = [trace.name for trace in made.data if trace.name and trace.showlegend is not False]
    return -(-sum(50 + 7 * len(name) for name in names) // (width - 94)) if len(names) > 1 else 0
