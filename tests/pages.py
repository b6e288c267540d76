"""The shell lines of the README and the pages, for the tests that run them: each line is run by one of them."""

import re
import shlex
from pathlib import Path

from actkit.docs import pages

ROOT = Path(__file__).parent.parent
TEXTS = {
    "README": (ROOT / "README.md").read_text(encoding="utf-8"),
    **{name: path.read_text(encoding="utf-8") for name, path in pages().items()},
}
WITH_SERVERS = {
    "cloud": "tests/remote/test_lines_of_pages.py",
    "scale": "tests/engines/test_lines_of_pages.py",
    "steer": "tests/recipes/test_steer_lines.py",
}
"""Pages whose lines need stores, clusters or runs of their own, and where they are run."""
OF_THE_HUB = ("--model", "--sae-release", "--sae-id")
"""Options that are left out, so that a line runs on the bundled model."""


def blocks(language: str, text: str) -> list[str]:
    """The blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell_lines(page: str) -> list[str]:
    """The lines of a page's shell blocks, without what is said behind them."""
    lines = (line.split(" # ")[0].strip() for block in blocks("bash", TEXTS[page]) for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def arguments_of(line: str) -> list[str]:
    """What a line of actkit's, or the last part of a pipe, gives it; empty for another program's line."""
    found = re.search(r"(?:^|\| )actkit (.*?)(?: &&.*| \| bash)?$", line)
    return [] if found is None or found[1].startswith("--install") else shlex.split(found[1])


def on_the_bundled_model(arguments: list[str]) -> list[str]:
    """The arguments without the names of a model and an SAE of the hub, and with a layer that the bundled model has."""
    before = ["", *arguments]
    return [
        "2" if last == "--target-layer" else argument
        for last, argument in zip(before, arguments, strict=False)
        if argument not in OF_THE_HUB and last not in OF_THE_HUB
    ]
