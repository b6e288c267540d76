"""Whether the files of a run are those that were written: there, whole, as many rows and bytes, the right columns."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from actkit.runs.checksums import of_facts, of_file
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
    "rejected",
)
"""Tables that every shard has a part of; the others are computed over the finished shards, and have no checksums."""


def check_manifests(run: Path, findings: Findings) -> Mapping[str, Mapping[str, Any]]:
    """What the manifests `shards/part-NNNNN.json` say of each file (its path in the run → bytes, sha256, rows).

    A manifest is a problem where it is missing, or is not as it was written: it holds a sha256 of its own.
    """
    stated: dict[str, Mapping[str, Any]] = {}
    paths = sorted((run / "shards").glob("part-*.json"))
    if not paths:
        findings.notes.append("checksums: the run has no manifests (shards/part-NNNNN.json)")
        return stated
    last = int(paths[-1].stem.removeprefix("part-"))
    for part in range(last + 1):
        path = run / "shards" / f"part-{part:05d}.json"
        findings.count("checksums")
        try:
            facts = json.loads(path.read_bytes())
            own = facts.pop("sha256")
            if own != of_facts(facts):
                raise ValueError("its own sha256 differs")
            stated |= {f"{table}/{path.stem}.parquet": dict(one) for table, one in facts["tables"].items()}
        except FileNotFoundError:
            findings.wrong("checksums", path, "missing")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            findings.wrong("checksums", path, f"damaged ({error})")
    return stated


def check_files(
    run: Path, tables: Mapping[str, Mapping[str, int]], stated: Mapping[str, Mapping[str, Any]], findings: Findings
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
        paths = sorted((run / table).glob("*.parquet"))
        there = {path.relative_to(run).as_posix() for path in paths}
        expected = {path for path in stated if path.split("/")[0] == table}
        if not expected and len(paths) < facts["parts"]:  # without manifests, a gap in the numbers tells
            expected = {f"{table}/part-{number:05d}.parquet" for number in range(_last(paths))}
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


def _last(paths: list[Path]) -> int:
    numbers = [int(path.stem.removeprefix("part-")) for path in paths if path.stem.removeprefix("part-").isdigit()]
    return max(numbers, default=-1) + 1


def _opened(path: Path, findings: Findings) -> Part | None:
    findings.count("files")
    try:
        with pq.ParquetFile(path) as file:
            return Part(path, file.metadata.num_rows)
    except UNREADABLE as error:
        findings.wrong("files", path, f"cannot be opened ({line(error)}; {path.stat().st_size:,} bytes)")
        return None


def _check_bytes(path: Path, stated: Mapping[str, Mapping[str, Any]], required: bool, findings: Findings) -> None:
    """One file against its manifest; where shards have manifests, a part of a shard is `required` to be in one."""
    facts = stated.get(f"{path.parent.name}/{path.name}")
    if facts is None:
        if required:
            findings.wrong("checksums", path, "in no manifest")
        return
    findings.count("checksums")
    size = path.stat().st_size
    if size != facts["bytes"]:
        findings.wrong("checksums", path, f"{size:,} bytes, but its manifest says {facts['bytes']:,}")
    elif of_file(path) != facts["sha256"]:
        findings.wrong("checksums", path, "its bytes are not those that were written (sha256 differs)")
