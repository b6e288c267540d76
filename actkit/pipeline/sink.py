"""Stage 6, sink: a run directory that grows as `<out>.partial` and gets its name when it is complete.

A shard is written table by table: to a temporary name, synced to disk, then renamed, so that a file with its final
name is whole. The directory itself is renamed last.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.errors import RunError
from actkit.pipeline.reduce import Groups
from actkit.schemas import SCHEMA_VERSION

RUN_FILE = "run.json"
DICTIONARY = ("hook_point", "source", "side", "token", "role", "status", "reason", "field", "measure")
"""Columns of few distinct values; vectors and ids are stored plainly, which is faster to write and to read."""


@dataclass
class RunDirectory:
    """One run on disk while it grows."""

    out: Path
    about: Mapping[str, str]
    """What makes a file readable alone: command, model, revision, hook points, dtype; kept in every file's metadata."""
    rows: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        """Where the run is until it is complete."""
        return self.out.with_name(self.out.name + ".partial")

    def write(self, table: str, groups: Groups, part: int = 0, compression: str = "zstd") -> None:
        """Write part `part` of `table`, one row group for each group; a shard has one part number in all tables."""
        folder = self.partial / table
        folder.mkdir(exist_ok=True)
        path = folder / f"part-{part:05d}.parquet"
        temporary = folder / f".{path.name}.tmp"
        first = next(iter(groups.values()))
        metadata = {"actkit.table": table, "actkit.schema_version": str(SCHEMA_VERSION), **self.about}
        schema = first.schema.with_metadata(metadata)
        dictionary = [name for name in schema.names if name in DICTIONARY]
        try:
            with pq.ParquetWriter(temporary, schema, compression=compression, use_dictionary=dictionary) as writer:
                for group in groups.values():
                    writer.write_table(group.replace_schema_metadata(metadata), row_group_size=max(len(group), 1))
            _sync(temporary)
            temporary.rename(path)
            _sync(folder)
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror or error}", "is the disk full or read-only?"
            ) from error
        self.parts[table] = self.parts.get(table, 0) + 1
        self.rows[table] = self.rows.get(table, 0) + sum(len(group) for group in groups.values())
        self.sizes[table] = self.sizes.get(table, 0) + path.stat().st_size

    def write_text(self, name: str, text: str) -> None:
        """Write a small file beside the tables."""
        path = self.partial / name
        path.write_text(text, encoding="utf-8")
        _sync(path)

    def discard_if_empty(self) -> None:
        """Remove the `.partial` directory of a run that failed before it had anything worth keeping."""
        if not self.rows.get("sequences"):
            shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self, facts: Mapping[str, Any], overwrite: bool) -> Path:
        """Write `run.json` and give the run its final name."""
        self.write_text(RUN_FILE, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        if overwrite and self.out.exists():
            _remove_run(self.out)
        self.partial.rename(self.out)
        _sync(self.out.parent)
        return self.out


def check_out(out: Path, overwrite: bool) -> None:
    """Whether a run can be made at `out`; cheap, so that it can be asked before a model is loaded.

    Raises RunError when `out` has no name of its own, when a run, finished or not, is in the way and `overwrite` is
    not set, or when the directory in the way is no run of actkit's: that is never removed.
    """
    if out.name in ("", ".."):
        raise RunError(f"{out} cannot be a run's directory", "give the run a name, such as runs/x")
    for existing in (out, RunDirectory(out, {}).partial):
        if existing.exists() and not overwrite:
            what = "exists already" if existing == out else "is an unfinished run"
            raise RunError(f"{existing} {what}", "choose another --out, or replace it with --overwrite")
    if out.exists():
        _check_is_run(out)


def start_run(out: Path, overwrite: bool, about: Mapping[str, str]) -> RunDirectory:
    """Make the `.partial` directory. Errors: see `check_out`."""
    check_out(out, overwrite)
    run = RunDirectory(out, about)
    try:
        if run.partial.exists():
            _remove_run(run.partial)
        run.partial.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"cannot make {run.partial}: {error.strerror or error}", "choose another --out") from error
    return run


def _check_is_run(path: Path) -> None:
    if not path.is_dir() or (any(path.iterdir()) and not (path / RUN_FILE).exists()):
        raise RunError(f"{path} is no run of actkit's, so it is not replaced", "choose another --out")


def _remove_run(path: Path) -> None:
    if not path.name.endswith(".partial"):
        _check_is_run(path)
    shutil.rmtree(path)


def _sync(path: Path) -> None:
    """Have the file or directory on disk before anything that relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ordered(groups: list[Groups]) -> dict[str, pa.Table]:
    """The groups of several batches put together, each group's rows in order of sequence and position."""
    joined = {name: pa.concat_tables([part[name] for part in groups]) for name in groups[0]}
    # All groups of a batch have the same rows in the same order, so one order serves for all.
    first = next(iter(joined.values()))
    keys = [(name, "ascending") for name in ("sequence_id", "position") if name in first.column_names]
    order = pc.sort_indices(first.select([name for name, _ in keys]), sort_keys=keys)
    return {name: table.combine_chunks().take(order) for name, table in joined.items()}
