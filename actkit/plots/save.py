"""A picture as a file: HTML by plotly alone, SVG, PNG and PDF by kaleido, which drives a browser."""

import html
from pathlib import Path

from actkit.errors import UsageError, pip_install, writing
from actkit.plots.picture import Drawn
from actkit.plots.style import plain, themed
from actkit.plots.titles import titled
from actkit.runs.atomic_files import write_whole

FORMATS = ("svg", "png", "pdf", "html")
PLOT = "'actkit[plot]'"
LONGEST = 1_000
"""Characters of a title or a sentence that is read out."""
PNG_SCALE = 2
"""Pixels of a PNG for each of the figure's."""


def save(drawn: Drawn, path: Path, dark: bool = False, width: int = 860) -> Path:
    """Write a picture, with its title and sentence in it; the suffix says the format.

    Raises UsageError for another suffix, and where kaleido or its browser is not there; WriteError.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise UsageError(f"{path}: not a format of pictures", f"end its name with .{', .'.join(FORMATS)}")
    made = themed(titled(drawn.figure, drawn.title, drawn.says, width), dark)
    if suffix == "html":
        page = made.to_html(include_plotlyjs=True, full_html=True, div_id="picture", config={"responsive": True})
        head = f'<html lang="en">\n<head><title>{html.escape(plain(drawn.title, LONGEST))}</title>'
        data = page.replace("<html>\n<head>", head, 1).encode()
    else:
        data = _image(made, suffix)
        data = _told(data, drawn) if suffix == "svg" else data
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(data))
    return path


def _told(svg: bytes, drawn: Drawn) -> bytes:
    """The drawing with what it shows in words, for who has it read out."""
    title, says = (html.escape(plain(text, LONGEST)) for text in (drawn.title, drawn.says))
    own = f' role="img" aria-labelledby="title desc"><title id="title">{title}</title><desc id="desc">{says}</desc>'
    root, rest = svg.decode().split(">", 1)
    return (root + own + rest).encode()


def _image(made: object, suffix: str) -> bytes:
    try:
        import kaleido  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"a picture as {suffix} needs kaleido",
            f"{pip_install(PLOT)} and a Chrome or Chromium, or -o x.html",
        ) from error
    try:
        found: bytes = made.to_image(format=suffix, scale=PNG_SCALE if suffix == "png" else 1)  # type: ignore[attr-defined]
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"a picture as {suffix} needs a browser for kaleido: {first}",
            "install Chrome or Chromium (apt-get install chromium), or -o x.html",
        ) from error
    return found
