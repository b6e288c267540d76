"""Check that the files of a run are those that were written: none is missing, added or changed.

The last manifest, `manifest.json`, has a checksum of every file. Each shard's manifest has the checksums of its own
tables, for a process that continues the run; the two must agree.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from actkit.remote.path import RemotePath
from actkit.runs import manifest
from actkit.runs.atomic_files import Written, difference
from actkit.runs.json_file import is_regular
from actkit.runs.lock import LOCK
from actkit.runs.manifest import sealed
from actkit.runs.part import open_or_fault, schema_of_part
from actkit.runs.paths import LOG_FILE, MANIFEST, SHARDS, VERIFIED, numbered, part_name, part_number
from actkit.runs.removal import UNFINISHED_FILE
from actkit.schemas import SCHEMA_VERSION, TABLES, arrow_schema
from actkit.verify.tables.findings import Findings


@dataclass(frozen=True)
class Part:
    """A part file that can be opened."""

    path: Path
    rows: int


def of_one_schema(
    table: str, parts: list[Part], findings: Findings, about: Mapping[str, str] | None = None
) -> list[Part]:
    """Return the parts that have the columns of `actkit.schemas`, with vectors of the same type in all of them.

    `about` is metadata that every part must have; None compares none. Other columns or metadata are a problem.
    """
    told = None if about is None else {"actkit.table": table, "actkit.schema_version": str(SCHEMA_VERSION), **about}
    if table not in TABLES:
        if parts:
            findings.wrong("schema", table, "a table that this version of actkit does not know")
        return []
    fine: list[Part] = []
    vector: pa.DataType | None = None
    for part in parts:
        findings.count("schema")
        with_metadata = schema_of_part(part.path)
        schema, metadata = with_metadata.remove_metadata(), with_metadata.metadata or {}
        found = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in metadata.items()}
        if told is not None and found != told:
            apart = next(key for key in {**found, **told} if found.get(key) != told.get(key))
            findings.wrong("counts", part.path, f"its metadata {apart} is not what run.json says")
        own = _vector_of(schema)
        expected = arrow_schema(table, vector or own or pa.list_(pa.float32()))
        if schema.equals(expected):
            vector = vector or own
            fine.append(part)
        else:
            findings.wrong("schema", part.path, _difference(schema, expected))
    return fine


def _vector_of(schema: pa.Schema) -> pa.DataType | None:
    """The type of the column `activation`; None where there is no such column, or where no run stores that type."""
    if schema.names.count("activation") != 1:
        return None
    kind = schema.field("activation").type
    lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind if lists and kind.value_type in (pa.float32(), pa.float16()) else None


def _difference(schema: pa.Schema, expected: pa.Schema) -> str:
    twice = [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]
    if twice:
        return f"a column {twice[0]} several times"
    missing = [name for name in expected.names if name not in schema.names]
    unknown = [name for name in schema.names if name not in expected.names]
    if missing or unknown:
        named = [f"no column {name}" for name in missing] + [f"an unknown column {name}" for name in unknown]
        return ", ".join(named)
    differing = [field for field in expected if schema.field(field.name).type != field.type]
    if not differing:
        return "columns in another order"
    return ", ".join(f"{field.name} is {schema.field(field.name).type}, not {field.type}" for field in differing)


NOT_SEALED = (MANIFEST, VERIFIED, LOG_FILE, LOCK)
"""Files of a finished run that its last manifest does not list."""


@dataclass(frozen=True)
class Stated:
    """The files and rows that the manifests state."""

    files: Mapping[str, Written]
    """Path in the run → how it was written; without a last manifest, only the tables of the shards."""
    of_shards: frozenset[str]
    """Tables that the shards write; the others are computed over the finished shards."""
    shards: Sequence[manifest.Manifest] = ()
    """The manifests of the shards; empty where a manifest is damaged or missing."""


def check_files(run: Path, findings: Findings) -> Stated:
    """Compare every file of a run with the manifests, and the manifests with each other."""
    shards, wrong = manifest.manifests(run)
    for name, what in wrong:
        findings.wrong("checksums", name, what)
    of_shards = {name: written for shard in shards for name, written in shard.files(unfinished=False).items()}
    files: Mapping[str, Written] = of_shards
    is_sealed = False
    try:
        n_shards, files = sealed(run)
    except (OSError, ValueError) as error:
        is_gone = isinstance(error, FileNotFoundError)
        says = "missing" if is_gone else f"damaged ({getattr(error, 'strerror', None) or error})"
        findings.wrong("checksums", MANIFEST, f"{says}, so there is nothing to compare the run's files with")
    else:
        is_sealed = True
        listed = sum(name.startswith(f"{SHARDS}/") for name in files)
        if not listed == n_shards == len(shards) + len(wrong):
            there = len(shards) + len(wrong)
            findings.wrong("checksums", SHARDS, f"manifests of {there:,} shards, where the run had {n_shards:,}")
        for name in (name for name, shard in of_shards.items() if files.get(name) != shard):
            findings.wrong("checksums", name, f"its shard's manifest and {MANIFEST} do not say the same of it")
    findings.count("checksums", len(files))
    for name, written in files.items():
        is_inside = _is_inside(name)
        differs = difference(run / name, written.bytes, written.sha256) if is_inside else "leads out of the run"
        if differs is not None:
            findings.wrong("files" if differs == "missing" else "checksums", name, differs)
    tables = frozenset(name.partition("/")[0] for name in of_shards)
    states = {f"{SHARDS}/{shard.name}.npz" for shard in shards if shard.state is not None}
    for name in sorted(set(_there(run)) - set(files) - states - set(NOT_SEALED)):
        could_be_known = is_sealed or name.partition("/")[0] in tables
        if could_be_known and not UNFINISHED_FILE.fullmatch(Path(name).name):
            findings.wrong("files", name, "in no manifest")
    return Stated(files, tables, () if wrong else shards)


def check_tables(
    run: Path,
    tables: Mapping[str, Mapping[str, int]],
    stated: Stated,
    findings: Findings,
    about: Mapping[str, str] | None = None,
) -> dict[str, list[Part]]:
    """Compare every table with its entry in `run.json` (`tables`): parts, bytes, rows and columns.

    `about` is the metadata of every part. Returns, for each table, the parts that can be opened and have the right
    columns.
    """
    found: dict[str, list[Part]] = {}
    known = {Path(name).stem for name in stated.files}
    named = {name.partition("/")[0] for name in stated.files if name.endswith(".parquet")}
    for name in sorted(named - set(tables)):
        findings.wrong("files", name, "in the manifests, but not among the tables of run.json")
    for table, facts in tables.items():
        paths = numbered(run / table, ".parquet")
        sizes = [path.stat().st_size if is_regular(path) else 0 for path in paths]
        numbers = {number for path in paths if (number := part_number(path)) is not None}
        # A shard in the manifests may lack a part of a table: where all of its records were rejected.
        due = (number for number in range(max(numbers, default=-1) + 1) if number not in numbers)
        gap = next((number for number in due if part_name(number) not in known), None)
        if gap is not None:
            findings.wrong("files", f"{table}/{part_name(gap)}.parquet", "missing")
        parts = [part for path in paths if (part := _opened(path, findings)) is not None]
        whole = len(parts) == len(paths) == facts["parts"]
        sums = (("parts", len(paths)), ("bytes", sum(sizes)))
        for what, count in (*sums, *((("rows", sum(part.rows for part in parts)),) if whole else ())):
            findings.count("counts")
            if count != facts[what]:
                findings.wrong("counts", table, f"{count:,} {what}, but run.json says {facts[what]:,}")
        found[table] = of_one_schema(table, parts, findings, about)
    return found


def _there(run: Path) -> Iterator[str]:
    """The path in the run of every file in its directory; links are not followed."""
    if isinstance(run, RemotePath):
        yield from run.files()
        return
    for folder, folders, names in os.walk(run):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(folder) / name).relative_to(run).as_posix()


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _opened(path: Path, findings: Findings) -> Part | None:
    """Open a part; None, and a problem, where it is damaged or claims more memory than its bytes can hold."""
    findings.count("files")
    found = open_or_fault(path) if is_regular(path) else "no regular file"
    if isinstance(found, str):
        findings.wrong("files", path, found)
        return None
    with found as file:
        return Part(path, file.metadata.num_rows)
