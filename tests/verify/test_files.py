"""Files of a run against its manifests, tables against `run.json`, columns against the schema: on a small run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.runs.atomic_files import Written, of_file
from actkit.runs.manifest import InputPosition, Manifest, save, seal
from actkit.runs.progress import Progress
from actkit.schemas import arrow_schema
from actkit.verify.tables.files import Stated, check_files, check_tables
from actkit.verify.tables.findings import Findings

ROWS = 2
"""Of each part."""


def rows(table: str, n: int = 1, vector: pa.DataType | None = None) -> pa.Table:
    """Rows of nothing."""
    schema = arrow_schema(table, vector or pa.list_(pa.float32()))
    return (
        schema.empty_table()
        if not n
        else pa.Table.from_arrays([pa.nulls(n, field.type) for field in schema], schema=schema)
    )


def written(path: Path) -> Written:
    n = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    return Written(path.stat().st_size, of_file(path), n)


def sealed(run: Path, shards: int, *tables: str) -> None:
    """Manifests of what is there."""
    for part in range(shards):
        of = {table: written(run / table / f"part-{part:05d}.parquet") for table in tables}
        save(run, Manifest(part, of, None, Progress(), InputPosition(), 1, 1), {})
    every = {path.relative_to(run).as_posix(): written(path) for path in run.rglob("*") if path.is_file()}
    every.pop("manifest.json", None)
    seal(run, shards, every)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two shards, each with a part of `rejected`, and a table over them."""
    run = tmp_path / "run"
    for name in ("rejected/part-00000", "rejected/part-00001", "layer_stats/part-00000"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows(name.partition("/")[0], ROWS), run / f"{name}.parquet")
    (run / "run.json").write_text("{}")
    sealed(run, 2, "rejected")
    return run


def files(run: Path) -> tuple[list[str], Stated]:
    findings = Findings(run)
    stated = check_files(run, findings)
    return [f"{problem.check} {problem}" for problem in findings.problems], stated


def test_a_run_that_is_as_it_was_written(run: Path) -> None:
    problems, stated = files(run)
    assert problems == [] and stated.of_shards == {"rejected"}
    assert set(stated.files) == {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} - {
        "manifest.json"
    }
    for name in ("verify.json", "run.log", "lock"):
        (run / name).write_text("x")
    (run / "rejected" / ".actkit-0123456789ab.tmp").write_text("x")
    assert files(run)[0] == [], "what no manifest has to list"


def part(run: Path, name: str) -> Path:
    return run / f"{name}.parquet"


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "gone": (
        lambda run: part(run, "rejected/part-00001").unlink(),
        "files rejected/part-00001.parquet: missing",
    ),
    "another file": (lambda run: (run / "notes").write_text(""), "files notes: in no manifest"),
    "a link": (lambda run: (run / "elsewhere").symlink_to("/"), "files elsewhere: in no manifest"),
    "more bytes": (
        lambda run: (run / "run.json").write_text("{} "),
        "checksums run.json: 3 bytes, but 2 were written",
    ),
    "other bytes": (
        lambda run: (run / "run.json").write_text("[]"),
        "checksums run.json: its bytes are not those that were written (sha256 differs)",
    ),
    "no manifest": (
        lambda run: (run / "manifest.json").unlink(),
        "checksums manifest.json: missing, so there is nothing to compare the run's files with",
    ),
    "a damaged manifest": (
        lambda run: (run / "manifest.json").write_text("{}"),
        "checksums manifest.json: damaged (its own sha256 differs), so there is nothing to compare",
    ),
    "a damaged shard": (
        lambda run: (run / "shards/part-00000.json").write_text("{}"),
        "checksums shards/part-00000.json: 2 bytes, but",
    ),
    "fewer shards": (
        lambda run: (run / "shards/part-00001.json").unlink(),
        "checksums shards: manifests of 1 shards, where the run had 2",
    ),
    "a way out": (
        lambda run: seal(run, 0, {"../x": Written(1, "ab"), "/x": Written(1, "ab")}),
        "checksums ../x: leads out of the run",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_is_wrong_with_a_file_is_said(run: Path, name: str) -> None:
    damage, says = DAMAGES[name]
    damage(run)
    problems, _ = files(run)
    assert any(problem.startswith(says) for problem in problems), problems


def test_a_shards_manifest_and_the_last_one_say_the_same(run: Path) -> None:
    pq.write_table(rows("rejected", 5), part(run, "rejected/part-00001"))
    of = {"rejected": written(part(run, "rejected/part-00001"))}
    save(run, Manifest(1, of, None, Progress(), InputPosition(), 1, 1), {})
    problems, _ = files(run)
    assert (
        "checksums rejected/part-00001.parquet: its shard's manifest and manifest.json do not say the same of it"
        in problems
    )


def test_without_its_last_manifest_the_tables_of_its_shards_are_compared(run: Path) -> None:
    (run / "manifest.json").unlink()
    (run / "notes").write_text("")
    (run / "rejected/extra.parquet").write_text("")
    problems, stated = files(run)
    assert set(stated.files) == {"rejected/part-00000.parquet", "rejected/part-00001.parquet"}
    assert [problem for problem in problems if "in no manifest" in problem] == [
        "files rejected/extra.parquet: in no manifest"
    ]


def tables(run: Path, **changes: Any) -> list[str]:
    """What is said of the tables, where `run.json` has these figures."""
    names = ("rejected", "layer_stats")
    figures = {
        name: {
            "rows": ROWS * len(list((run / name).glob("*.parquet"))),
            "parts": len(list((run / name).glob("*.parquet"))),
            "bytes": sum(path.stat().st_size for path in (run / name).glob("*.parquet")),
        }
        for name in names
    }
    figures["rejected"] |= changes
    quiet = Findings(run)
    stated = check_files(run, quiet)
    findings = Findings(run)
    found = check_tables(run, figures, stated, findings)
    if not findings.problems:
        assert {name: [(part.path, part.rows) for part in parts] for name, parts in found.items()} == {
            name: [(path, ROWS) for path in sorted((run / name).glob("*.parquet"))] for name in names
        }
    return [f"{problem.check} {problem}" for problem in findings.problems]


def test_tables_are_as_run_json_says(run: Path) -> None:
    assert tables(run) == []
    assert tables(run, rows=5) == ["counts rejected: 4 rows, but run.json says 5"]
    assert tables(run, parts=3) == ["counts rejected: 2 parts, but run.json says 3"]
    assert tables(run, bytes=1)[0].startswith("counts rejected: ")


def test_a_part_between_others_is_missing_unless_its_shard_had_none(run: Path) -> None:
    part(run, "rejected/part-00000").unlink()
    assert tables(run) == [], "the shard is known"
    (run / "manifest.json").unlink()
    (run / "shards/part-00000.json").unlink()
    assert "files rejected/part-00000.parquet: missing" in tables(run)


def test_a_table_that_run_json_does_not_name(run: Path) -> None:
    findings = Findings(run)
    check_tables(run, {}, check_files(run, Findings(run)), findings)
    assert [str(problem) for problem in findings.problems] == [
        f"{name}: in the manifests, but not among the tables of run.json" for name in ("layer_stats", "rejected")
    ]


def test_what_cannot_be_opened_is_no_part(run: Path) -> None:
    path = part(run, "rejected/part-00001")
    path.write_bytes(b"PAR1 and more")
    assert any(
        "rejected/part-00001.parquet: cannot be opened (" in says and "13 bytes)" in says for says in tables(run)
    )
    path.unlink()
    os.mkfifo(path)
    findings = Findings(run)
    check_tables(run, {"rejected": {"rows": 2, "parts": 2, "bytes": 0}}, Stated({}, frozenset()), findings)
    assert "rejected/part-00001.parquet: no regular file" in [str(problem) for problem in findings.problems]


SCHEMAS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a column less": (lambda table: table.drop_columns(["reason"]), "no column reason"),
    "a column more": (lambda table: table.append_column("more", pa.nulls(len(table))), "an unknown column more"),
    "twice": (lambda table: table.append_column("reason", table["reason"]), "a column reason several times"),
    "another order": (lambda table: table.select(table.column_names[::-1]), "columns in another order"),
    "another type": (
        lambda table: table.set_column(0, table.column_names[0], pa.nulls(len(table), pa.int32())),
        "record_id is int32, not int64",
    ),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_columns_are_those_of_the_schema(run: Path, name: str) -> None:
    change, says = SCHEMAS[name]
    path = part(run, "rejected/part-00001")
    pq.write_table(change(pq.read_table(path)), path)
    assert f"schema rejected/part-00001.parquet: {says}" in tables(run)


def test_a_table_that_nobody_knows_and_vectors_of_two_kinds(run: Path) -> None:
    (run / "other").mkdir()
    pq.write_table(pa.table({"a": [1]}), run / "other/part-00000.parquet")
    (run / "activations").mkdir()
    kinds = (pa.list_(pa.float16(), 3), pa.list_(pa.float16(), 3), pa.list_(pa.float32()), pa.list_(pa.float64()))
    for number, kind in enumerate(kinds):
        table = rows("activations", 0, kind)
        pq.write_table(table, run / f"activations/part-{number:05d}.parquet")
    findings = Findings(run)
    figures = {"rows": 0, "parts": 4, "bytes": 0}
    found = check_tables(
        run, {"other": {**figures, "rows": 1}, "activations": figures}, Stated({}, frozenset()), findings
    )
    says = [str(problem) for problem in findings.problems if problem.check == "schema"]
    assert says[0] == "other: a table that this version of actkit does not know"
    assert [path.path.name for path in found["activations"]] == ["part-00000.parquet", "part-00001.parquet"]
    assert [text.partition(":")[0] for text in says[1:]] == [
        "activations/part-00002.parquet",
        "activations/part-00003.parquet",
    ]
    assert found["other"] == []
