"""`Findings`: counts of the things checked in a run, and the problems, one line for each file and kind of mistake.

`leave` writes them into `verify.json`, beside `run.json`, for the next reader of the run:

* ok, checked, problems, notes: see `Findings`
* recomputed: with `--recompute`, the number of records, and the worst error at each hook point and of each SAE
* deep: whether tests and directions were computed again
* time, seconds, actkit, schema_version: when the check began to write, how long it took, and the versions
* manifest: sha256 of the last manifest then. If the run has another one now, `verify.json` is out of date

The run's own checksums leave this file out, so that a check does not change the run.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.errors import ActkitError
from actkit.remote.path import RemotePath
from actkit.runs.atomic_files import of_file, write_text
from actkit.runs.json_file import is_regular
from actkit.runs.paths import MANIFEST, VERIFIED
from actkit.schemas import SCHEMA_VERSION

CHECKS = tuple("files checksums schema counts sequences tokens activations features pooled pairs derived".split())
"""The kinds of checks, in the order of the screen."""


@dataclass(frozen=True)
class Problem:
    """A problem: the check that found it, its file or table, and a description."""

    check: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Findings:
    """Counts of the things checked so far, and the problems found."""

    run: Path
    checked: dict[str, int] = field(default_factory=dict)
    """Check → how many things it has checked: files, tables, figures or rows."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Checks that were not possible, and why."""

    def count(self, check: str, n: int = 1) -> None:
        """Count `n` more things for `check`."""
        self.checked[check] = self.checked.get(check, 0) + n

    def wrong(self, check: str, where: str | Path, what: str) -> None:
        """Add a problem; a path is shown relative to the run."""
        name = where.relative_to(self.run).as_posix() if isinstance(where, Path) else where
        # Names and texts of a damaged run may hold control characters, which a terminal would obey.
        self.problems.append(Problem(check, _printable(name), _printable(what)))

    def rows(
        self, check: str, where: str | Path, bad: npt.NDArray[np.bool_], what: str, place: Callable[[int], str]
    ) -> bool:
        """Add one problem for all `bad` rows [n]: `what`, the first row's place, and the number; return whether any."""
        count = int(bad.sum())
        if count:
            first = place(int(np.flatnonzero(bad)[0]))
            self.wrong(check, where, f"{what} ({first}{f', and {count - 1:,} more' if count > 1 else ''})")
        return bool(count)

    def facts(self) -> dict[str, Any]:
        """The counts and problems as plain values, for `--json`."""
        return {
            "run": str(self.run),
            "ok": not self.problems,
            "checked": {name: self.checked[name] for name in CHECKS if name in self.checked},
            "problems": [vars(problem) for problem in self.problems],
            "notes": self.notes,
        }


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


def leave(run: Path, found: Mapping[str, Any], seconds: float, deep: bool) -> str | None:
    """Write `verify.json` into a run. Returns a sentence where that fails, which is no problem of the run's."""
    manifest = run / MANIFEST
    facts = {
        "ok": found["ok"],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "actkit": version("actkit"),
        "schema_version": SCHEMA_VERSION,
        "manifest": of_file(manifest) if is_regular(manifest) else None,
        "deep": deep,
        **{name: value for name, value in found.items() if name not in ("run", "ok")},
    }
    if isinstance(run, RemotePath):
        return f"{VERIFIED} is not left in a run that is elsewhere"
    try:
        write_text(run / VERIFIED, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    except ActkitError as error:
        return f"{VERIFIED} is not left in the run: {error.message}"
    return None
