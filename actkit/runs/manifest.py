"""The manifest of a finished shard, `shards/part-00007.json`: written last, so that a shard with a manifest is whole.

* part: number of the shard, as in its files' names
* tables: table → rows, bytes and sha256 of its part file
* state: bytes and sha256 of `part-00007.npz`, the counts of reducers over this shard; null where none count
* progress: counts of this shard alone, since shards may be computed in any order, by any task
* end: how many records are before the next shard, its first sequence_id, and a digest of those records
* batch_tokens: as asked for, and as memory allowed
* sha256: of all of the above, as JSON with sorted keys

The last file of a run, `manifest.json`, is written before the run gets its name. A finished run without it has lost it,
or was made by an older version.

* shards: how many shards the run has, each with a manifest of its own in `shards/`
* files: path in the run → bytes, sha256 and, for tables, rows; without this file, and `verify.json`, which is later
* sha256: of both, as JSON with sorted keys
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from actkit.config import Task
from actkit.runs.atomic_files import Written, difference, of_facts, write_text, write_whole
from actkit.runs.json_file import parsed, read_bytes, read_object
from actkit.runs.paths import MANIFEST, SHARDS, numbered, part_name, part_number
from actkit.runs.progress import Progress

DAMAGED = (KeyError, TypeError, AttributeError, RecursionError)
"""Errors of reading other contents than a manifest's: JSON can be parsed a few levels deeper than it can be spelled."""
State: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Name → array: the counts of one SAE over a shard."""


@dataclass(frozen=True)
class InputPosition:
    """A place in the input where a shard ends: between two records, or within a record of several shards."""

    read: int = 0
    """Records that begin before it."""
    next_sequence_id: int = 0
    input_digest: str = ""
    """Digest of these records."""
    within: int = 0
    """How many sequences of the last record are before it, if others follow; else 0."""


@dataclass(frozen=True)
class Manifest:
    """The manifest of one finished shard."""

    part: int
    tables: Mapping[str, Written]
    state: Written | None
    progress: Progress
    end: InputPosition
    given: int
    """Tokens per batch, as asked for."""
    used: int
    """Tokens per batch that memory allowed in the end."""

    @property
    def name(self) -> str:
        """The name of the shard's files, without a suffix."""
        return part_name(self.part)

    def files(self, unfinished: bool = True) -> dict[str, Written]:
        """Path in the run → every file of the shard, as written; an unfinished run has the counts (`.npz`) too."""
        own = {f"{table}/{self.name}.parquet": written for table, written in self.tables.items()}
        return own | ({f"{SHARDS}/{self.name}.npz": self.state} if self.state and unfinished else {})


def save(run: Path, manifest: Manifest, states: Mapping[str, State]) -> Written:
    """Write a shard's counts (`states`: SAE → arrays), then its manifest. Raises WriteError."""
    folder = run / SHARDS
    state = None
    if states:
        arrays: dict[str, Any] = {
            f"{index}/{key}": value for index, counted in enumerate(states.values()) for key, value in counted.items()
        }
        state = write_whole(folder / f"{manifest.name}.npz", lambda file: np.savez_compressed(file, **arrays))
    return _write(folder / f"{manifest.name}.json", replace(manifest, state=state))


def vouch_for(path: Path, table: str, written: Written) -> Written:
    """Replace a table's entry in a shard's manifest after its part was rewritten. Raises WriteError."""
    manifest = read(path)
    return _write(path, replace(manifest, tables={**manifest.tables, table: written}))


def _write(path: Path, manifest: Manifest) -> Written:
    facts = {
        "part": manifest.part,
        "tables": {table: asdict(written) for table, written in manifest.tables.items()},
        "state": asdict(manifest.state) if manifest.state else None,
        "progress": asdict(manifest.progress),
        "end": asdict(manifest.end),
        "batch_tokens": {"given": manifest.given, "used": manifest.used},
    }
    return write_text(path, _spelled(facts))


def read(path: Path) -> Manifest:
    """Read a manifest. Raises OSError where it is not there, ValueError where it is not as it was written."""
    facts = read_object(path)
    try:
        if facts.pop("sha256") != of_facts(facts):
            raise ValueError("its own sha256 differs")
        tables = {table: Written(**written) for table, written in facts["tables"].items()}
        state = Written(**facts["state"]) if facts["state"] else None
        progress, end = Progress(**facts["progress"]), InputPosition(**facts["end"])
        found = Manifest(facts["part"], tables, state, progress, end, **facts["batch_tokens"])
    except DAMAGED as error:
        raise ValueError(f"it has other entries ({error})") from error
    if found.part != part_number(path):
        raise ValueError(f"it is the manifest of shard {found.part}")
    return found


def manifests(run: Path, task: Task | None = None) -> tuple[list[Manifest], list[tuple[str, str]]]:
    """Read the manifests of a run, by part; also return (path in the run, fault) of each damaged or missing one.

    The largest number there says how many are due: a number stated in a file could be without bound. For a task, which
    has its own shards alone, none is reported missing.
    """
    found: list[Manifest] = []
    wrong: list[tuple[str, str]] = []
    due = 0
    for path in numbered(run / SHARDS, ".json"):
        number = part_number(path) or 0
        if number > due and task is None:
            more = f", and {number - due - 1:,} more" if number > due + 1 else ""
            wrong.append((f"{SHARDS}/{part_name(due)}.json", f"missing{more}"))
        due = number + 1
        try:
            found.append(read(path))
        except (OSError, ValueError) as error:
            wrong.append((f"{SHARDS}/{path.name}", f"damaged ({error})"))
    return found, wrong


def finished(run: Path, unfinished: bool = True, task: Task | None = None) -> tuple[list[Manifest], list[str]]:
    """Find the finished shards; for each damaged or missing one return a sentence: only that one is computed again.

    Compares every file with its size and sha256; of a run that is not `unfinished`, only the tables.
    """
    every, damaged = manifests(run, task)
    found: list[Manifest] = []
    again = [_again(name, what) for name, what in damaged]
    for manifest in every:
        wrong = check(run, manifest.files(unfinished))
        if wrong:
            again.append(_again(*wrong[0]))
        else:
            found.append(manifest)
    return found, again


def check(run: Path, files: Mapping[str, Written]) -> list[tuple[str, str]]:
    """Compare files of a run with how they were written; return (path in the run, fault) of each that differs."""
    found = ((name, difference(run / name, written.bytes, written.sha256)) for name, written in files.items())
    return [(name, what) for name, what in found if what is not None]


def load_states(run: Path, manifest: Manifest, names: list[str]) -> dict[str, State]:
    """Read the counts of a shard: name → arrays, for `names` (SAEs, in order)."""
    if manifest.state is None:
        return {}
    with np.load(run / SHARDS / f"{manifest.name}.npz", allow_pickle=False) as arrays:
        every = dict(arrays)
    return {
        name: {key.partition("/")[2]: value for key, value in every.items() if key.partition("/")[0] == str(index)}
        for index, name in enumerate(names)
    }


def _again(name: str, what: str) -> str:
    state = "missing" if what.startswith("missing") else "damaged"
    return f"shard {part_number(Path(name))}: {name} is {state}; that shard is computed again"


def seal(run: Path, shards: int, files: Mapping[str, Written]) -> None:
    """Write the last manifest of a run of `shards` shards. Raises WriteError."""
    write_text(run / MANIFEST, spelled(shards, files))


def spelled(shards: int, files: Mapping[str, Written]) -> str:
    """The text of the last manifest of a run of `shards` shards."""
    every = {name: asdict(files[name]).items() for name in sorted(files)}
    known = {name: {key: value for key, value in about if value is not None} for name, about in every.items()}
    return _spelled({"shards": shards, "files": known})


def sealed(run: Path) -> tuple[int, dict[str, Written]]:
    """Read the last manifest: the number of shards of a run, and how each of its files was written.

    Raises OSError where there is no manifest, ValueError where it is not, to the byte, as it was written.
    """
    data = read_bytes(run / MANIFEST)
    facts = {name: value for name, value in parsed(data).items() if name != "sha256"}
    try:
        if _spelled(facts).encode() != data:
            raise ValueError("its own sha256 differs")
        shards, files = facts["shards"], {str(name): Written(**about) for name, about in facts["files"].items()}
    except DAMAGED as error:
        raise ValueError(f"it has other entries ({error})") from error
    if not isinstance(shards, int) or not all(_is_file_facts(file) for file in files.values()):
        raise ValueError("it has other entries")
    return shards, files


def _is_file_facts(written: Written) -> bool:
    counts = (written.bytes, 0 if written.rows is None else written.rows)
    return isinstance(written.sha256, str) and all(isinstance(count, int) and count >= 0 for count in counts)


def _spelled(facts: Mapping[str, Any]) -> str:
    return json.dumps({**facts, "sha256": of_facts(facts)}, indent=1, ensure_ascii=False) + "\n"
