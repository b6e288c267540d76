"""What is known of a finished shard: `shards/part-00007.json`, written last, so that a shard with one is whole.

* part: number of the shard, the one in its files' names
* tables: table → rows, bytes and sha256 of its part file
* state: bytes and sha256 of `part-00007.npz`, what reducers had counted by then; null where none count
* progress: the run's counts after this shard
* end: how many records were read by then, the next sequence_id, and a digest of those records
* batch_tokens: what was asked for, and what memory allowed
* sha256: of all of the above, as JSON with sorted keys
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from actkit.runs.atomic_files import Written, write_whole
from actkit.runs.checksums import of_facts, of_file
from actkit.runs.progress import Progress

FOLDER = "shards"
State: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""What has been counted so far, as arrays."""


@dataclass(frozen=True)
class InputPosition:
    """A place in the input: between two records, where a shard ends."""

    read: int = 0
    """Records before it."""
    next_sequence_id: int = 0
    input_digest: str = ""
    """Digest of the records before it."""


@dataclass(frozen=True)
class Manifest:
    """One finished shard."""

    part: int
    tables: Mapping[str, Written]
    state: Written | None
    progress: Progress
    end: InputPosition
    given: int
    """Tokens a batch that were asked for."""
    used: int
    """Tokens a batch that memory allowed in the end."""

    @property
    def name(self) -> str:
        """The name of its files, without a suffix."""
        return f"part-{self.part:05d}"

    def files(self, unfinished: bool = True) -> dict[str, Written]:
        """Every file that it vouches for, by its path in the run; what was counted is there in an unfinished one."""
        own = {f"{table}/{self.name}.parquet": written for table, written in self.tables.items()}
        return own | ({f"{FOLDER}/{self.name}.npz": self.state} if self.state and unfinished else {})


def save(run: Path, manifest: Manifest, states: Mapping[str, State]) -> None:
    """Write a shard's manifest, what was counted (SAE → numbers) first. Raises WriteError."""
    folder = run / FOLDER
    state = None
    if states:
        arrays = {f"{index}/{key}": value for index, one in enumerate(states.values()) for key, value in one.items()}
        state = write_whole(folder / f"{manifest.name}.npz", lambda file: _save_arrays(file, arrays))
    facts = {
        "part": manifest.part,
        "tables": {table: asdict(written) for table, written in manifest.tables.items()},
        "state": asdict(state) if state else None,
        "progress": asdict(manifest.progress),
        "end": asdict(manifest.end),
        "batch_tokens": {"given": manifest.given, "used": manifest.used},
    }
    text = json.dumps({**facts, "sha256": of_facts(facts)}, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / f"{manifest.name}.json", lambda file: file.write(text.encode()))


def read(path: Path) -> Manifest | None:
    """The manifest in a file; None where it is not there, not whole or not as it was written."""
    try:
        facts = json.loads(path.read_bytes())
        if facts.pop("sha256") != of_facts(facts):
            return None
        tables = {table: Written(**written) for table, written in facts["tables"].items()}
        state = Written(**facts["state"]) if facts["state"] else None
        progress, end = Progress(**facts["progress"]), InputPosition(**facts["end"])
        return Manifest(facts["part"], tables, state, progress, end, **facts["batch_tokens"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def finished(run: Path, unfinished: bool = True) -> tuple[list[Manifest], str | None]:
    """The longest row of shards from the first on that are whole, and what is wrong with the one after them, if any.

    Every file is read and held against its size and sha256; of a run that is not `unfinished`, the tables' alone.
    """
    numbers = sorted(int(path.stem.removeprefix("part-")) for path in (run / FOLDER).glob("part-*.json"))
    found: list[Manifest] = []
    for part in range(numbers[-1] + 1 if numbers else 0):
        name = f"{FOLDER}/part-{part:05d}.json"
        manifest = read(run / name)
        if manifest is None or manifest.part != part:
            what = f"{name} is {'damaged' if (run / name).exists() else 'missing'}"
            return found, f"shard {part}: {what}; it and what follows are computed again"
        wrong = next(_wrong(run, manifest.files(unfinished)), None)
        if wrong is not None:
            return found, f"shard {part}: {wrong}; it and what follows are computed again"
        found.append(manifest)
    return found, None


def load_states(run: Path, manifest: Manifest, names: list[str]) -> dict[str, State]:
    """What the reducers of `names` (SAEs, in order) had counted when the shard was done."""
    if manifest.state is None:
        return {}
    with np.load(run / FOLDER / f"{manifest.name}.npz", allow_pickle=False) as arrays:
        every = dict(arrays)
    return {
        name: {key.partition("/")[2]: value for key, value in every.items() if key.partition("/")[0] == str(index)}
        for index, name in enumerate(names)
    }


def _save_arrays(file: IO[bytes], arrays: Mapping[str, Any]) -> None:
    np.savez_compressed(file, **arrays)


def _wrong(run: Path, files: Mapping[str, Written]) -> Iterator[str]:
    for name, written in files.items():
        path = run / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != written.bytes or of_file(path) != written.sha256:
            yield f"{name} is damaged"
