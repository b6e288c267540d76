"""Copy tables of a finished run into one that is being written, and compare each file with its checksum on the way."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from actkit.errors import RunError
from actkit.runs.atomic_files import Written, difference, write_whole
from actkit.runs.manifest import sealed
from actkit.runs.part import schema_of_part
from actkit.runs.paths import MANIFEST, SHARDS
from actkit.runs.writer import RunDirectory

HINT = "actkit verify says what is wrong with the run"


def files_of(run: Path) -> Mapping[str, Written]:
    """Path in a finished run → how the file was written. Raises RunError where its last manifest cannot be used."""
    try:
        return sealed(run)[1]
    except (OSError, ValueError) as error:
        raise RunError(f"{run}/{MANIFEST} cannot be used ({error})", HINT) from error


def about_of(run: Path) -> dict[str, str]:
    """Read the metadata that every table of a run has (`facts.metadata_of`). Raises RunError for a damaged run."""
    files = files_of(run)
    part = next((name for name in files if name.startswith("sequences/")), None)
    if part is None:
        raise RunError(f"{run} has no table sequences", HINT)
    _check(run, part, files[part])
    metadata = schema_of_part(run / part).metadata or {}
    about = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"actkit.")}
    return {key: value for key, value in about.items() if key not in ("actkit.table", "actkit.schema_version")}


def take_over(run: Path, into: RunDirectory, tables: Collection[str], changed: Collection[str]) -> None:
    """Copy the manifests of `run`'s shards, and its `tables` except those that are `changed`.

    `RunDirectory.rewrite` writes the changed ones; here only their checksums are compared. Raises RunError for a file
    that is not as it was written.
    """
    for name, was in files_of(run).items():
        folder = name.partition("/")[0]
        if folder in changed:
            _check(run, name, was)
        elif folder == SHARDS or folder in tables:
            into.files[name] = _copied(run, into, name, was)


def _check(run: Path, name: str, was: Written) -> None:
    wrong = difference(run / name, was.bytes, was.sha256)
    if wrong is not None:
        raise RunError(f"{run}/{name}: {wrong}", HINT)


def _copied(run: Path, into: RunDirectory, name: str, was: Written) -> Written:
    def copy(file: IO[bytes]) -> None:
        with (run / name).open("rb") as read:
            shutil.copyfileobj(read, file)

    if not (run / name).is_file():
        raise RunError(f"{run}/{name}: missing", HINT)
    written = write_whole(into.partial / name, copy)
    if (written.bytes, written.sha256) != (was.bytes, was.sha256):
        raise RunError(f"{run}/{name}: its bytes are not those that were written (sha256 differs)", HINT)
    return was
