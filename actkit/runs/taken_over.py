"""Copy tables of a finished run into one that is being written, and compare each file with its checksum on the way."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from actkit.errors import RunError
from actkit.runs.atomic_files import BLOCK, Written, difference, write_whole
from actkit.runs.manifest import sealed, vouch_for
from actkit.runs.part import schema_of_part
from actkit.runs.paths import MANIFEST, SHARDS, part_number
from actkit.runs.writer import Groups, RunDirectory

HINT = "actkit verify says what is wrong with the run"


def files_of(run: Path) -> Mapping[str, Written]:
    """Path in a finished run → how the file was written. Raises RunError where its last manifest cannot be used."""
    try:
        return sealed(run)[1]
    except (OSError, ValueError) as error:
        raise RunError(f"{run}/{MANIFEST} cannot be used ({error})", HINT) from error


def about_of(run: Path) -> dict[str, str]:
    """The metadata that every table of a run carries, so that it can be read alone."""
    files = files_of(run)
    part = next((name for name in files if name.startswith("sequences/")), None)
    if part is None:
        raise RunError(f"{run} has no table sequences", HINT)
    _check(run, part, files[part])
    metadata = schema_of_part(run / part).metadata or {}
    about = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"actkit.")}
    return {key: value for key, value in about.items() if key not in ("actkit.table", "actkit.schema_version")}


def take_over(run: Path, into: RunDirectory, wanted: Callable[[str], bool], changed: Callable[[str], bool]) -> None:
    """Copy the manifests of `run`'s shards, and of its tables those whose name is `wanted`.

    Of tables that are `changed` only the checksums are compared: `put_changed` writes them. Raises RunError for a file
    that is not as it was written.
    """
    files = files_of(run)
    for name in (file for file in files if file.startswith(f"{SHARDS}/")):
        into.files[name] = _copied(run, into, name, files[name])
    for name in (file for file in files if file.endswith(".parquet")):
        table = name.partition("/")[0]
        if not wanted(table):
            continue
        if changed(table):
            _check(run, name, files[name])
        else:
            into.files[name] = replace(_copied(run, into, name, files[name]), rows=files[name].rows)


def put_changed(into: RunDirectory, table: str, part: Path, groups: Groups) -> None:
    """Write other rows for a part of another run, and have its shard's manifest vouch for them."""
    compression = "none" if table == "activations" else "zstd"
    written = into.write(table, groups, part_number(part) or 0, compression)
    about = f"{SHARDS}/{part.stem}.json"
    if about in into.files:
        into.files[about] = vouch_for(into.partial / about, table, written)


def _check(run: Path, name: str, was: Written) -> None:
    wrong = difference(run / name, was.bytes, was.sha256)
    if wrong is not None:
        raise RunError(f"{run}/{name}: {wrong}", HINT)


def _copied(run: Path, into: RunDirectory, name: str, was: Written) -> Written:
    def copy(file: IO[bytes]) -> None:
        with (run / name).open("rb") as read:
            shutil.copyfileobj(read, file, BLOCK)

    if not (run / name).is_file():
        raise RunError(f"{run}/{name}: missing", HINT)
    written = write_whole(into.partial / name, copy)
    if (written.bytes, written.sha256) != (was.bytes, was.sha256):
        raise RunError(f"{run}/{name}: its bytes are not those that were written (sha256 differs)", HINT)
    return written
