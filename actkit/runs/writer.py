"""Stage 6, sink: a run directory that grows as `<out>.partial` and gets its name when it is complete.

A shard is written table by table, then its manifest. A file with its final name is whole, and so is a shard with a
manifest. The directory itself is renamed last.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.errors import RunError, writing
from actkit.runs.atomic_files import Written, sync, write_text, write_whole
from actkit.runs.card import card
from actkit.runs.manifest import seal, vouch_for
from actkit.runs.paths import CARD, RUN_FILE, SHARDS, TEXTS, is_there, part_name, partial_of, replaced
from actkit.runs.removal import check_removable, clear, remove, tidy
from actkit.schemas import SCHEMA_VERSION, TABLES

Groups: TypeAlias = Mapping[str, pa.Table]
"""Rows of one table, by row group: a group for each hook point or SAE."""
DICTIONARY = ("hook_point", "source", "side", "token", "role", "status", "reason", "field", "measure", "sae")
"""Columns of few distinct values, stored with a dictionary; others are plain: faster to write and to read."""


@dataclass
class RunDirectory:
    """One run on disk while it grows."""

    out: Path
    about: Mapping[str, str]
    """Metadata of every file: command, model, revision, hook points and dtype, so that each file names its origin."""
    files: dict[str, Written] = field(default_factory=dict)
    """Path in the run → the file that was written, or found whole; the last manifest lists them."""

    @property
    def partial(self) -> Path:
        """The path of the run until it is complete."""
        return partial_of(self.out)

    def write(self, table: str, groups: Groups, part: int = 0) -> Written:
        """Write part `part` of `table`, one row group for each group that has rows.

        A shard has the same part number in all tables.
        """
        # Vectors hardly compress (about 8 % with zstd), and writing them plainly is faster.
        compression = "none" if table == "activations" else "zstd"
        first = next(iter(groups.values()))
        metadata = {"actkit.table": table, "actkit.schema_version": str(SCHEMA_VERSION), **self.about}
        schema = first.schema.with_metadata(metadata)
        dictionary = [name for name in schema.names if name in DICTIONARY]

        def write(file: IO[bytes]) -> None:
            with pq.ParquetWriter(file, schema, compression=compression, use_dictionary=dictionary) as writer:
                for group in groups.values():
                    if len(group):  # `datasets` reads no file that begins with a row group of no rows
                        writer.write_table(group.replace_schema_metadata(metadata), row_group_size=len(group))

        name = f"{table}/{part_name(part)}.parquet"
        rows = sum(len(group) for group in groups.values())
        self.files[name] = replace(write_whole(self.partial / name, write), rows=rows)
        return self.files[name]

    def write_over(
        self, tables: Iterable[tuple[str, pa.Table | Groups]], after: Callable[[], None] = lambda: None
    ) -> None:
        """Write tables that were computed over the finished shards; call `after` after each part.

        A table that the shards have already comes part by part, and replaces theirs.
        """
        of_shards, following = self.tables().keys(), Counter[str]()
        for name, rows in tables:
            write = self.rewrite if name in of_shards else self.write
            write(name, groups_of(name, rows), following[name])
            following[name] += 1
            after()

    def rewrite(self, table: str, groups: Groups, part: int) -> None:
        """Rewrite part `part` of a table of the shards, and update the shard's manifest."""
        written = self.write(table, groups, part)
        about = f"{SHARDS}/{part_name(part)}.json"
        if (self.partial / about).exists():
            self.files[about] = vouch_for(self.partial / about, table, written)

    def tables(self) -> dict[str, dict[str, int]]:
        """Rows, parts and bytes of each table, for `run.json`."""
        found = {name: {"rows": 0, "parts": 0, "bytes": 0} for name in TABLES}
        for path, written in self.files.items():
            if (about := found.get(path.partition("/")[0])) is not None:
                about["rows"] += written.rows or 0
                about["parts"] += 1
                about["bytes"] += written.bytes
        return {name: about for name, about in found.items() if about["parts"]}

    def write_text(self, name: str, text: str) -> None:
        """Write a small file with a name in `TEXTS`; a file of another name would not count as actkit's."""
        if name not in TEXTS:
            raise ValueError(f"{name} is not in actkit.runs.paths.TEXTS")
        self.files[name] = write_text(self.partial / name, text)

    def discard_if_empty(self) -> None:
        """Remove the files of a run that failed before it had a sequence; the lock stays held."""
        if not self.tables().get("sequences", {}).get("rows"):
            with suppress(RunError):
                clear(self.partial)

    def finish(self, facts: Mapping[str, Any], overwrite: bool) -> Path:
        """Write the card, `run.json`, then the last manifest, and give the run its final name.

        Raises RunError where another run has appeared there meanwhile.
        """
        self.write_text(CARD, card(facts))
        self.write_text(RUN_FILE, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        seal(self.partial, sum(name.startswith(f"{SHARDS}/") for name in self.files), self.files)
        aside = replaced(self.out)
        with writing(self.out):
            if is_there(self.out):
                if not overwrite:
                    raise RunError(f"{self.out} exists already", "move it away, then go on with --resume")
                check_removable(self.out)
                if is_there(aside):  # left by a replacement that was interrupted
                    remove(aside)
                self.out.rename(aside)
            self.partial.rename(self.out)
            sync(self.out.parent)
            tidy(self.out)
        return self.out


@contextmanager
def gone_if_empty(partial: Path) -> Iterator[None]:
    """Remove the directory `partial` if the work inside raises and leaves it empty."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.rmdir()
        raise


def start_run(out: Path, about: Mapping[str, str]) -> RunDirectory:
    """Make the `.partial` directory unless it exists. Raises RunError where that fails."""
    run = RunDirectory(out, about)
    try:
        run.partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {run.partial}: {error.strerror or error}", "choose another --out") from error
    return run


def groups_of(table: str, rows: pa.Table | Groups) -> Groups:
    """Return `rows` as row groups: a single one for a table."""
    return {table: rows} if isinstance(rows, pa.Table) else rows


def ordered(groups: list[Groups]) -> dict[str, pa.Table]:
    """Join the groups of several batches, and sort each group's rows by sequence and position."""
    joined = {name: pa.concat_tables([part[name] for part in groups]) for name in groups[0]}
    # All groups of a batch have the same rows in the same order, so one order serves for all.
    first = next(iter(joined.values()))
    keys = [(name, "ascending") for name in ("sequence_id", "position") if name in first.column_names]
    order = pc.sort_indices(first.select([name for name, _ in keys]), sort_keys=keys)
    return {name: table.combine_chunks().take(order) for name, table in joined.items()}
