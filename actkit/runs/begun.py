"""`fingerprint.json` says what a run was begun with; it is there from the run's first moment on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actkit.runs.json_file import read_object
from actkit.runs.paths import FINGERPRINT


@dataclass(frozen=True)
class Begun:
    """What must be the same for the run to be continued, and who has written it so far."""

    fingerprint: Mapping[str, Any]
    replaces: bool
    """Whether it is to take the place of a finished run."""
    sessions: Sequence[Mapping[str, Any]]
    """When, where and with what each of the processes began that wrote it."""

    def text(self) -> str:
        """The text of its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_begun(run: Path) -> Begun:
    """What an unfinished run was begun with. Raises OSError where its file cannot be read, ValueError for another."""
    facts = read_object(run / FINGERPRINT)
    kinds = {"fingerprint": dict, "replaces": bool, "sessions": list}
    if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise ValueError("other entries")
    return Begun(**{name: facts[name] for name in kinds})


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys at which two fingerprints differ, by name."""
    return [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
