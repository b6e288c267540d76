"""Tables of a finished run are copied to the byte into another, or written anew, and a manifest vouches for them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.runs.manifest import finished
from actkit.runs.taken_over import HINT, about_of, files_of, take_over
from actkit.runs.writer import RunDirectory


@pytest.fixture
def run(six_runs: Mapping[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(six_runs["capture"], tmp_path / "run"))


@pytest.fixture
def into(tmp_path: Path) -> RunDirectory:
    (tmp_path / "new.partial").mkdir()
    return RunDirectory(tmp_path / "new", {"actkit.command": "capture"})


def test_what_a_tables_metadata_says_of_the_run_is_kept(run: Path) -> None:
    about = about_of(run)
    facts = json.loads((run / "run.json").read_text())
    assert about["actkit.command"] == "capture" and about["actkit.model"] == facts["model"]["name"]
    assert all(key.startswith("actkit.") for key in about)
    assert not {"actkit.table", "actkit.schema_version"} & about.keys(), "each table has its own"


def test_wanted_tables_are_copied_and_the_others_are_not(run: Path, into: RunDirectory) -> None:
    take_over(run, into, ["sequences", "tokens"], [])
    copied = {path.relative_to(into.partial).as_posix() for path in into.partial.rglob("*") if path.is_file()}
    part = "part-00000"
    assert copied == {f"shards/{part}.json", f"sequences/{part}.parquet", f"tokens/{part}.parquet"} == set(into.files)
    assert all((into.partial / name).read_bytes() == (run / name).read_bytes() for name in copied)
    rows = {table: pq.read_metadata(run / table / f"{part}.parquet").num_rows for table in ("sequences", "tokens")}
    assert {table: about["rows"] for table, about in into.tables().items()} == rows
    assert [about["parts"] for about in into.tables().values()] == [1, 1]
    assert into.files[f"tokens/{part}.parquet"] == files_of(run)[f"tokens/{part}.parquet"]


def test_changed_tables_are_compared_and_written_by_whoever_changes_them(run: Path, into: RunDirectory) -> None:
    take_over(run, into, [path.name for path in run.iterdir() if path.is_dir()], ["sequences"])
    part = run / "sequences" / "part-00000.parquet"
    assert not (into.partial / "sequences").exists() and "sequences" not in into.tables()
    table = pq.read_table(part)
    changed = table.set_column(table.schema.get_field_index("text"), "text", pa.array(["x"] * len(table)))
    into.rewrite("sequences", {"": changed}, 0)
    assert pq.read_table(into.partial / "sequences" / part.name)["text"].to_pylist() == ["x"] * len(table)
    (shard,), wrong = finished(into.partial, unfinished=False)
    assert wrong == [] and shard.tables["sequences"].bytes == into.tables()["sequences"]["bytes"]
    assert (
        into.files[f"shards/{part.stem}.json"].bytes == (into.partial / "shards" / f"{part.stem}.json").stat().st_size
    )


def test_vectors_are_written_without_compression_and_the_rest_with_it(run: Path, into: RunDirectory) -> None:
    take_over(run, into, ["sequences"], [])
    for table in ("activations", "tokens"):
        part = run / table / "part-00000.parquet"
        into.rewrite(table, {"": pq.read_table(part)}, 0)
        with pq.ParquetFile(into.partial / table / part.name) as file:
            kinds = {file.metadata.row_group(0).column(at).compression for at in range(file.metadata.num_columns)}
        assert kinds == {"UNCOMPRESSED" if table == "activations" else "ZSTD"}, table


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_that_is_not_as_it_was_written_ends_it(run: Path, into: RunDirectory, changed: bool) -> None:
    path = run / "tokens" / "part-00000.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.raises(
        RunError, match=r"tokens/part-00000.parquet: its bytes are not those that were written"
    ) as error:
        take_over(run, into, ["tokens"], ["tokens"] if changed else [])
    assert error.value.hint == HINT
    path.unlink()
    with pytest.raises(RunError, match=r"tokens/part-00000.parquet: missing"):
        take_over(run, into, ["tokens"], ["tokens"] if changed else [])


def test_a_run_without_a_manifest_or_sequences_says_so(run: Path) -> None:
    stated = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match=r"manifest.json cannot be used \(its own sha256 differs\)") as error:
        files_of(run)
    assert error.value.hint == HINT
    from actkit.runs.atomic_files import Written
    from actkit.runs.manifest import seal

    seal(run, 1, {name: Written(**about) for name, about in stated["files"].items() if "sequences" not in name})
    with pytest.raises(RunError, match="has no table sequences"):
        about_of(run)
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match="cannot be used"):
        about_of(run)
