"""`ExportJob`, the argument of every format's writer: the run, the file to write, callbacks for progress and notes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExportJob:
    """One export: from the finished run `run` to the file `out`."""

    run: Path
    facts: Mapping[str, Any]
    """The contents of the run's `run.json`."""
    out: Path
    """A temporary path with the final name. A second file goes into the same folder."""
    progress: Callable[[float], None] = lambda _share: None
    """Called with the share that is done, 0 to 1."""
    note: Callable[[str], None] = lambda _text: None
    """Called with a sentence that a reader must know, such as on a hook point that was left out."""

    @property
    def command(self) -> str:
        """The command that made the run."""
        return str(self.facts["command"])
