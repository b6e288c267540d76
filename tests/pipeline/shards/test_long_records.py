"""A record that is more than a shard holds stands in several: nothing in the tables says where shards end."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.pipeline import extract
from actkit.pipeline.resume.session import reconcile
from actkit.pipeline.shards import gather
from actkit.pipeline.shards import shard as usable_records
from actkit.recipes import feature_dataset
from actkit.runs import manifest
from actkit.runs.by_sequence import shards_of
from actkit.runs.progress import Progress
from actkit.verify.tables.run import verify
from tests.command_line import Run
from tests.export.test_jsonl_documents import check as check_documents

LENGTHS = (3, 0, 58, 2, 6, 24, 17, 2)
"""Sentences of each document: three of them are more than a shard holds, and one is empty."""
TABLES = {"sequences": [], "tokens": [], "rejected": [], "features": ["sequence_id", "position", "sae"]}
"""Table → columns that no rounding is in; none for all of them."""
ARGUMENTS = ("feature-dataset", "in.jsonl", "--context-size", "24", "--top-k", "5", "--target-layer", "2", "-q")
SMALL = ("--shard-sequences", "7", "--batch-tokens", "96")


def write_input(path: Path) -> None:
    sentences = [f"On day {n} the cat 😀 saw {n * n} boats. " for n in range(200)]
    rows = [json.dumps({"text": "".join(sentences[:n])}) for n in LENGTHS]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the input, a run of it in small shards, and one in a single shard."""
    from actkit.cli.app import main

    folder = tmp_path_factory.mktemp("long")
    write_input(folder / "in.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, more in (("small", SMALL), ("large", ())):
            with pytest.raises(SystemExit) as ended:
                main([*ARGUMENTS, *more, "-o", name])
            assert ended.value.code in (0, None)
    return folder


@pytest.fixture
def here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.parquet")}


def facts(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def same(first: Path, second: Path) -> None:
    """The same bytes in the same parts, and the same counts."""
    assert files(first) == files(second)
    mine, other = facts(first), facts(second)
    for name in ("counts", "rejected_reasons", "health", "documents", "fields_read", "input_digest"):
        assert mine.get(name) == other.get(name), name


@pytest.mark.slow
def test_where_shards_end_changes_no_row(runs: Path) -> None:
    small, large = runs / "small", runs / "large"
    shards = [pq.read_table(path)["record_id"].to_numpy() for path in sorted((small / "sequences").iterdir())]
    assert max(map(len, shards)) == 7 and len(list((large / "sequences").iterdir())) == 1
    crossing = [before[-1] for before, other in itertools.pairwise(shards) if before[-1] == other[0]]
    assert set(crossing) == {2, 5, 6} and crossing.count(2) > 4
    assert any(len(np.unique(shard)) > 1 and shard[0] in crossing for shard in shards), (
        "what is left of a shard is used"
    )
    for table, columns in TABLES.items():
        mine, other = (pd.concat(map(pd.read_parquet, sorted((run / table).iterdir()))) for run in (small, large))
        columns = columns or list(mine.columns)
        pd.testing.assert_frame_equal(mine[columns].reset_index(drop=True), other[columns].reset_index(drop=True))
    assert facts(small)["counts"] == facts(large)["counts"]
    assert facts(small)["documents"] == facts(large)["documents"]
    assert facts(small)["counts"]["written"] == 7 and facts(small)["counts"]["rejected"] == 1
    counted = [manifest.read(path) for path in sorted((small / "shards").iterdir())]
    assert sum(manifest.progress.read for manifest in counted) == 8 and any(
        manifest.progress.read == 0 for manifest in counted
    )


@pytest.mark.quick(1)
@pytest.mark.parametrize("special", [(), ("--special",)])
def test_a_document_of_several_shards_is_exported_as_one(here: Path, actkit: Run, special: tuple[str, ...]) -> None:
    texts = []
    for name in ("small", "large"):
        assert actkit("export", name, "--to", "jsonl", "-o", f"{name}.jsonl", *special).status == 0
        texts.append([json.loads(line) for line in Path(f"{name}.jsonl").read_text(encoding="utf-8").splitlines()])
    check_documents(Path("small"), texts[0], bool(special))
    for lines in texts:
        for line in lines:
            del line["activations"], line["active_features"]  # which are of batches of other shapes
    assert texts[0] == texts[1]
    written = [json.loads(line)["text"] for line in Path("in.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [text["text"] for text in texts[0]] == [text for text in written if text]


@pytest.mark.slow
def test_verify_finds_such_a_run_in_order_and_its_texts_again(here: Path, actkit: Run) -> None:
    found = actkit("verify", "small", "--deep", "--recompute", "12")
    assert found.status == 0, found.err
    assert verify(Path("small")).problems == []


@pytest.mark.slow
def test_verify_while_it_runs(here: Path, actkit: Run) -> None:
    """Of a document that goes on, what is not there yet cannot be tokenized; vectors are compared with the model."""
    assert actkit(*ARGUMENTS, *SMALL, "-o", "checked", "--verify", "4").status == 0
    assert files(Path("checked")) == files(Path("small"))


@pytest.mark.slow
@pytest.mark.parametrize("at", [3, 5, 10])
def test_stopped_in_the_middle_of_a_record_it_goes_on_to_the_same_bytes(
    here: Path, actkit: Run, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard after which it was stopped is no place between records."""
    write = extract._write
    times = 0

    def stopping(*arguments: Any) -> None:
        nonlocal times
        times += 1
        if times == at:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(extract, "_write", stopping)
        assert actkit(*ARGUMENTS, *SMALL, "-o", "part").status == 130
    done = manifest.manifests(here / "part.partial")[0]
    assert 0 < len(done) < at and any(manifest.end.within for manifest in done)
    assert actkit(*ARGUMENTS, *SMALL, "-o", "part", "--resume").status == 0
    same(here / "small", here / "part")


@pytest.mark.slow
@pytest.mark.parametrize("gone", [(2,), (1, 2), (1, 4, 7), (0, 1, 2, 5, 6, 8, 9, 10, 11)])
def test_damaged_shards_in_a_record_are_computed_again_alone(
    here: Path, actkit: Run, gone: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **_more: Any) -> Iterator[Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(feature_dataset, "stats_of", stopped)
        assert actkit(*ARGUMENTS, *SMALL, "-o", "part").status == 130
    partial = here / "part.partial"
    kept = [path for path in (partial / "tokens").iterdir() if int(path.stem[5:]) not in gone]
    before = {path.name: path.stat().st_mtime_ns for path in kept}
    for number in gone:
        (partial / "tokens" / f"part-{number:05d}.parquet").write_bytes(b"PAR1")
    assert actkit(*ARGUMENTS, *SMALL, "-o", "part", "--resume").status == 0
    same(here / "small", here / "part")
    assert {name: (here / "part/tokens" / name).stat().st_mtime_ns for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 5])
def test_tasks_share_a_record(here: Path, actkit: Run, of: int) -> None:
    for number in reversed(range(of)):
        made = actkit(*ARGUMENTS, *SMALL, "-o", "shared", "--shard", f"{number}/{of}")
        assert made.status == 0, made.err
    assert actkit("merge", "shared", "-q").status == 0
    same(here / "small", here / "shared")


@pytest.mark.slow
def test_a_record_that_was_changed_is_not_gone_on_with(here: Path, actkit: Run, monkeypatch: Any) -> None:
    write = extract._write

    def stopping(directory: Any, tables: Any, about: Any, *more: Any) -> None:
        if about.part == 3:
            raise KeyboardInterrupt
        write(directory, tables, about, *more)

    with monkeypatch.context() as patch:
        patch.setattr(extract, "_write", stopping)
        assert actkit(*ARGUMENTS, *SMALL, "-o", "part").status == 130
    lines = Path("in.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps({"text": json.loads(lines[2])["text"] + "And one more."})  # what was written is as it was
    Path("in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = actkit(*ARGUMENTS, *SMALL, "-o", "part", "--resume")
    assert found.status == 1 and "the input has changed" in found.err


def test_the_plan_counts_what_the_run_has(here: Path, actkit: Run) -> None:
    planned = actkit(*ARGUMENTS, *SMALL, "--plan", "--json", "-o", "none").found["counts"]
    counts = facts(here / "small")["counts"]
    assert {name: planned[name] for name in ("read", "written", "rejected", "sequences", "tokens")} == {
        name: counts[name] for name in ("read", "written", "rejected", "sequences", "tokens")
    }
    assert planned["shards"] == len(list((here / "small/shards").iterdir()))


@pytest.mark.slow
def test_a_reason_to_reject_a_long_record_is_found_before_any_of_it_is_written(
    here: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = usable_records.usable

    def with_fewer_embeddings(recipe: Any, record: Any, room: Any, vocabulary: Any) -> Any:
        last = 4095 if record.record_id != 2 else 50
        return real(recipe, record, room, last)

    monkeypatch.setattr(gather, "usable", with_fewer_embeddings)
    assert actkit(*ARGUMENTS, *SMALL, "-o", "other").status == 0
    assert set(pd.read_parquet("other/sequences")["record_id"]) == {0, 3, 4, 5, 6, 7}
    assert pd.read_parquet("other/rejected")["record_id"].tolist() == [1, 2]
    assert verify(Path("other")).problems == []


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """A part of a run changed, and its row groups left as they are."""
    table = change(pq.read_table(path, partitioning=None))
    pq.write_table(table, path, use_dictionary=False)


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", ["twice", "chunk", "first"])
def test_a_record_that_does_not_go_on_as_it_should_is_found(here: Path, how: str) -> None:
    parts = sorted((here / "small/sequences").iterdir())
    if how == "twice":  # a shard's records once more
        shutil.copy(parts[3], parts[4])
    else:

        def change(table: pa.Table) -> pa.Table:
            chunks = table["chunk"].to_numpy().copy()
            chunks[3 if how == "chunk" else 0] += 1
            return table.set_column(table.column_names.index("chunk"), table.field("chunk"), pa.array(chunks))

        rewritten(parts[3], change)
    says = " ".join(f"{problem.check} {problem.what}" for problem in verify(here / "small").problems)
    assert ("chunks of a record" in says) or ("each once" in says)


@pytest.mark.slow
def test_no_memory_in_a_later_shard_is_said_and_the_record_not_torn(
    here: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actkit.pipeline import compute

    real, times = compute.forward, 0

    def short(*arguments: Any) -> Any:
        nonlocal times
        times += 1
        if times > 12:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(compute, "forward", short)
    found = actkit(*ARGUMENTS, *SMALL, "-o", "part")
    assert found.status == 1 and "out of memory" in found.err
    monkeypatch.undo()


def test_the_parts_of_a_document(here: Path) -> None:
    run = here / "small"
    every = sorted((run / "sequences").iterdir())
    of = {
        record: [path for path in every if record in pq.read_table(path)["record_id"].to_pylist()]
        for record in (0, 2, 5)
    }
    for record, there in of.items():
        for part in there:
            assert shards_of(run, part, record) == there
    of[2][-2].unlink()
    assert shards_of(run, of[2][0], 2) is None
    with pytest.raises(RunError, match="are not 3 to"):
        reconcile(run, Progress(read=8, written=7, rejected=1))
