"""The pages of the documentation: Markdown in this folder, shown by `actkit docs` and listed in the README."""

from pathlib import Path

FOLDER = Path(__file__).parent
FIRST = tuple(
    (
        "quickstart dpo capture concept sae-extract feature-dataset reward-detect runs files shapes tables options "
        "formats models statistics python cookbook"
    ).split()
)
"""Pages in the order in which they are read; the others follow by name."""


def pages() -> dict[str, Path]:
    """Name → file of every page, in the order in which they are read."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.md"))}
    return {name: found[name] for name in (*(each for each in FIRST if each in found), *found)}


def title(page: Path) -> str:
    """A page's title, without marks of code."""
    with page.open(encoding="utf-8") as lines:
        return next(line for line in lines if line.startswith("# "))[2:].strip().replace("`", "")
