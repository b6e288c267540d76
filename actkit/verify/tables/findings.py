"""`Findings`: how much a check of a run has looked at, and its problems, one line a file and kind of mistake."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CHECKS = tuple("files checksums schema counts sequences tokens activations features pooled pairs derived".split())
"""The kinds of checks, in the order in which they are shown."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: which check found it, in which file or table, and what it is."""

    check: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Findings:
    """Counts of what has been looked at so far, and the problems found."""

    run: Path
    checked: dict[str, int] = field(default_factory=dict)
    """Check → how many things it has looked at: files, tables, figures or rows."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Checks that were not possible, and why."""

    def count(self, check: str, n: int = 1) -> None:
        """Count `n` more things that `check` has looked at."""
        self.checked[check] = self.checked.get(check, 0) + n

    def wrong(self, check: str, where: str | Path, what: str) -> None:
        """Add a problem; a path is named as it is in the run."""
        name = where.relative_to(self.run).as_posix() if isinstance(where, Path) else where
        # Names and texts of a damaged run may hold anything, and a terminal would obey it.
        self.problems.append(Problem(check, _printable(name), _printable(what)))

    def rows(
        self, check: str, where: str | Path, bad: npt.NDArray[np.bool_], what: str, place: Callable[[int], str]
    ) -> bool:
        """Add one problem for all rows that are `bad` [n], if any: `what`, how many, and where the first one is."""
        count = int(bad.sum())
        if count:
            first = place(int(np.flatnonzero(bad)[0]))
            self.wrong(check, where, f"{what} ({first}{f', and {count - 1:,} more' if count > 1 else ''})")
        return bool(count)

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for `--json`."""
        return {
            "run": str(self.run),
            "ok": not self.problems,
            "checked": {name: self.checked[name] for name in CHECKS if name in self.checked},
            "problems": [vars(problem) for problem in self.problems],
            "notes": self.notes,
        }


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
