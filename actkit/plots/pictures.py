"""Lists, draws and saves the pictures of each command's runs, in the order of the report.

The pictures of a command stand in the module or folder of its name, which lists them as `PICTURES`.
"""

import html
import re
from dataclasses import replace
from pathlib import Path

from actkit.errors import UsageError, first_line, pip_install, writing
from actkit.numerals import in_a_sentence
from actkit.plots import capture, concept, dpo, feature_dataset, reward_detect, sae_extract, steer
from actkit.plots.picture import Drawn, Pick, Picture, Source, without
from actkit.plots.style import plain, themed, titled, titles_apart
from actkit.runs.atomic_files import write_whole

OF_COMMAND: dict[str, tuple[Picture, ...]] = {
    "dpo": dpo.PICTURES,
    "capture": capture.PICTURES,
    "concept": concept.PICTURES,
    "sae-extract": sae_extract.PICTURES,
    "feature-dataset": feature_dataset.PICTURES,
    "reward-detect": reward_detect.PICTURES,
    "steer": steer.PICTURES,
}
FORMATS = ("svg", "png", "pdf", "html")
PLOT = "'actkit[plot]'"
LONGEST = 1_000
"""Characters of a title or a sentence in a file."""
PNG_SCALE = 2
"""Pixels of a PNG for each pixel of the figure."""


def pictures_of(run: Source) -> tuple[Picture, ...]:
    """Return the pictures of a run; an empty tuple for a command without pictures."""
    return OF_COMMAND.get(run.facts["command"], ())


def draw(run: Source, name: str, pick: Pick | None = None) -> Drawn:
    """Draw a picture by name. Raises UsageError for an unknown name, LackingError where the run lacks a table."""
    known = pictures_of(run)
    found = next((picture for picture in known if picture.name == name), None)
    if found is None:
        listed = "; ".join(f"{picture.name}: {picture.shows}" for picture in known) or "none"
        raise UsageError(f"{name}: a run of {run.facts['command']} has no such picture", f"it has {listed}")
    return drawn(found, run, pick or Pick())


def drawn(picture: Picture, run: Source, pick: Pick) -> Drawn:
    """Draw a picture. Raises LackingError where the run lacks a table, an entry or a column that the picture needs."""
    try:
        found = picture.draw(run, pick)
    except KeyError as error:
        named = re.search(r"[\"'(](\w+)[\"')]", str(error))
        raise without(run, f"This run has no {named[1] if named else 'entry for it'}") from error
    titles_apart(found.figure)
    return replace(found, says=in_a_sentence(found.says))


def save(drawn: Drawn, path: Path, dark: bool = False, width: int = 860) -> Path:
    """Write a picture, with its title and sentence in it; the suffix says the format.

    Raises UsageError for another suffix and for a missing kaleido or browser, WriteError where it cannot be written.
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
        image = _image(made, suffix)
        data = _told(image, drawn) if suffix == "svg" else image
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(data))
    return path


def _told(svg: bytes, drawn: Drawn) -> bytes:
    """Add title and sentence to a drawing, for screen readers."""
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
        first = first_line(error)
        raise UsageError(
            f"a picture as {suffix} needs a browser for kaleido: {first}",
            "install Chrome or Chromium (apt-get install chromium), or -o x.html",
        ) from error
    return found
