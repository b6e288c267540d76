"""Cases for `calls`: a finished run of somebody else's making, checked, shown and exported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.hostile_runs import drawn, make
from tests.verify.conftest import COMMANDS, SHARDS, write_input

RUN, READERS = "x", "readers.json"
KINDS = ("pairs", "vectors", "features", "chunks", "pooled", "directions")
"""One of each command."""
Reader = tuple[str, ...]


def build(actkit: Callable[[list[str]], object], readers: Callable[[str], list[Reader]]) -> None:
    """A run of each command, and in READERS which of the readers read it whole: pictures want two layers, and more.

    Raises RuntimeError where a command or most of its readers do not work: what came of damage would say nothing.
    """
    if Path(READERS).exists():
        return
    write_input(Path())
    kept: dict[str, list[Reader]] = {}
    for name in KINDS:
        if status_of(actkit, *COMMANDS[name], *SHARDS, "-o", name):
            raise RuntimeError(f"there is no run of {name}")
        shutil.copytree(name, RUN)
        asked = readers(name)
        kept[name] = [reader for reader in asked if status_of(actkit, *reader) == 0]
        if len(kept[name]) < 0.8 * len(asked):
            raise RuntimeError(f"of {len(asked)} readers {len(kept[name])} read {name}")
        shutil.rmtree(RUN)
    Path(READERS).write_text(json.dumps(kept))


def status_of(actkit: Callable[[list[str]], object], *arguments: str) -> object:
    """The exit status of a call."""
    try:
        actkit([*arguments])
    except SystemExit as ended:
        return ended.code
    return 0


def case(_folder: Path, number: int) -> tuple[list[str], list[str], bool]:
    """What was done to the run, and the command line: runs in turn, and their readers in turn."""
    name = KINDS[number % len(KINDS)]
    looks = json.loads(Path(READERS).read_text())[name]
    for left in (RUN, "out", "out.partial"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(name, RUN)
    steps, sealing = drawn(name, number)
    make(Path(RUN), steps, sealing)
    return [name, *map(str, steps), sealing], [*looks[number // len(KINDS) % len(looks)]], False


def checks(name: str) -> list[Reader]:
    """Command lines that check, show or export a run."""
    found: list[Reader] = [("verify", RUN, "-q"), ("verify", RUN, "--deep", "-q"), ("show", RUN, "--json")]
    formats = facts_of(name)["exports"]
    return found + [("export", RUN, "--to", to, "--out", "out.file", "-q", "--overwrite") for to in formats]


def facts_of(name: str) -> dict[str, Any]:
    """What `run.json` of the whole run says."""
    facts: dict[str, Any] = json.loads((Path(name) / "run.json").read_text())
    return facts


def warm(actkit: Callable[[list[str]], object]) -> None:
    """The runs, and what is imported for them."""
    build(actkit, checks)
