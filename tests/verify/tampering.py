"""Runs that are changed as somebody could who knows actkit: so that manifests and `run.json` fit again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.runs.atomic_files import Written
from actkit.runs.card import card
from actkit.runs.manifest import Manifest, read, save
from actkit.runs.manifest import seal as seal_run
from actkit.runs.paths import CARD, MANIFEST, VERIFIED
from actkit.runs.writer import DICTIONARY

Change = Callable[[pa.Table], pa.Table]


def change_part(path: Path, change: Change, group: int = 0) -> None:
    """Change one row group of a part, and leave everything that was said of the file as it was."""
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
    metadata = groups[group].schema.metadata
    groups[group] = change(groups[group])
    schema = groups[group].schema.with_metadata(metadata)
    dictionary = [name for name in schema.names if name in DICTIONARY]
    with pq.ParquetWriter(path, schema, use_dictionary=dictionary) as writer:
        for batch in groups:
            if len(batch):
                writer.write_table(batch.replace_schema_metadata(metadata), row_group_size=len(batch))


def put(column: str, row: int, value: Any) -> Change:
    """Another value in one row; what is a function is called with the old one."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        at = table.schema.get_field_index(column)
        return table.set_column(at, table.schema.field(at), pa.array(values, type=table.schema.field(at).type))

    return change


def seal(run: Path) -> None:
    """Manifests, run.json and a card that said the same as it, as they would be, had the files been written so."""
    facts = json.loads((run / "run.json").read_text())
    said_so = (run / CARD).is_file() and (run / CARD).read_text(encoding="utf-8") == card(facts)
    for path in sorted(run.glob("shards/*.json")):
        old = read(path)
        tables = {table: written(run / table / f"{path.stem}.parquet") for table in old.tables}
        save(run, Manifest(old.part, tables, old.state, old.progress, old.end, old.given, old.used), {})
    for table, about in facts["tables"].items():
        files = [written(path) for path in run.glob(f"{table}/*.parquet") if path.is_file()]
        about |= {"rows": sum(file.rows or 0 for file in files), "bytes": sum(file.bytes for file in files)}
    (run / "run.json").write_text(json.dumps(facts))
    if said_so:
        (run / CARD).write_text(card(facts), encoding="utf-8")
    reseal(run)


def reseal(run: Path) -> None:
    """The last manifest as it would be, had the files been written so."""
    every = (path for path in run.rglob("*") if path.is_file())
    files = {path.relative_to(run).as_posix(): written(path) for path in every}
    for name in (MANIFEST, VERIFIED):
        files.pop(name, None)
    seal_run(run, len(list(run.glob("shards/*.json"))), files)


def written(path: Path) -> Written:
    if not path.is_file():  # a pipe would be waited for
        raise OSError(f"{path} is no file")
    data = path.read_bytes()
    rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    return Written(len(data), hashlib.sha256(data).hexdigest(), rows)
