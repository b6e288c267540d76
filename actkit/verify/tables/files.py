"""Whether the files of a run are those that were written: there, whole, as many rows and bytes, the right columns."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from actkit.runs import manifest
from actkit.runs.atomic_files import Written
from actkit.runs.checksums import difference
from actkit.runs.paths import numbered, part_name, part_number
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.reading import UNREADABLE, line
from actkit.verify.tables.schema import Part, of_one_schema

BY_SHARD = (
    "sequences",
    "tokens",
    "activations",
    "features",
    "pooled_features",
    "pooled_activations",
    "pairs",
    "steered_texts",
    "logprobs",
    "rejected",
)
"""Tables that every shard has a part of; the others are computed over the finished shards, and have no checksums."""


def check_manifests(run: Path, findings: Findings) -> dict[str, Written]:
    """What the manifests `shards/part-NNNNN.json` say of each file (its path in the run → how it was written).

    A manifest is a problem where it is missing, or is not as it was written: it holds a sha256 of its own.
    """
    found, wrong = manifest.manifests(run)
    findings.count("checksums", len(found) + len(wrong))
    for name, what in wrong:
        findings.wrong("checksums", name, what)
    if not found and not wrong:
        findings.notes.append("checksums: the run has no manifests (shards/part-NNNNN.json)")
    return {name: written for one in found for name, written in one.files(unfinished=False).items()}


def check_files(
    run: Path, tables: Mapping[str, Mapping[str, int]], stated: Mapping[str, Written], findings: Findings
) -> dict[str, list[Part]]:
    """Hold every file against the manifests (`stated`) and every table against what `run.json` says of it (`tables`).

    Returns the parts that can be opened and have the columns that they should have, table by table.
    """
    found: dict[str, list[Part]] = {}
    for name in sorted({path.split("/")[0] for path in stated} - set(tables)):
        findings.wrong("files", name, "in the manifests, but not among the tables of run.json")
    for folder in sorted(path for path in run.iterdir() if path.is_dir() and any(path.glob("*.parquet"))):
        if folder.name not in tables:
            findings.wrong("files", folder, "not among the tables of run.json")
    for table, facts in tables.items():
        paths = numbered(run / table, ".parquet")
        there = {path.relative_to(run).as_posix() for path in paths}
        expected = {path for path in stated if path.split("/")[0] == table}
        if not expected and len(paths) < facts["parts"]:  # without manifests, a gap in the numbers tells
            there_numbers = [part_number(path) or 0 for path in paths]
            missing = next(number for number in range(len(paths) + 1) if number not in there_numbers)
            expected = {f"{table}/{part_name(missing)}.parquet"} if missing < max(there_numbers, default=0) else set()
        for name in sorted(expected - there):
            findings.wrong("files", name, "missing")
        parts = [part for path in paths if (part := _opened(path, findings)) is not None]
        for path in paths:
            _check_bytes(path, stated, bool(stated) and table in BY_SHARD, findings)
        whole = len(parts) == len(paths) == facts["parts"]
        sums = (("parts", len(paths)), ("bytes", sum(path.stat().st_size for path in paths)))
        for what, count in (*sums, *((("rows", sum(part.rows for part in parts)),) if whole else ())):
            findings.count("counts")
            if count != facts[what]:
                findings.wrong("counts", table, f"{count:,} {what}, but run.json says {facts[what]:,}")
        found[table] = of_one_schema(table, parts, findings)
    return found


def _opened(path: Path, findings: Findings) -> Part | None:
    findings.count("files")
    try:
        with pq.ParquetFile(path) as file:
            return Part(path, file.metadata.num_rows)
    except UNREADABLE as error:
        findings.wrong("files", path, f"cannot be opened ({line(error)}; {path.stat().st_size:,} bytes)")
        return None


def _check_bytes(path: Path, stated: Mapping[str, Written], required: bool, findings: Findings) -> None:
    """One file against its manifest; where shards have manifests, a part of a shard is `required` to be in one."""
    facts = stated.get(f"{path.parent.name}/{path.name}")
    if facts is None:
        if required:
            findings.wrong("checksums", path, "in no manifest")
        return
    findings.count("checksums")
    what = difference(path, facts.bytes, facts.sha256)
    if what is not None:
        findings.wrong("checksums", path, what)
