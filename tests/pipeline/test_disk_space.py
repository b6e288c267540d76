"""A disk that will not hold a run is noted once, with numbers, while there is time; a large one is not."""

import gzip
import json
import lzma
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.cli.app import main
from actkit.config import BatchSpec, ModelSpec, OutputSpec, Task
from actkit.pipeline.disk_space import DiskSpaceWatch, watching
from actkit.pipeline.input import formats
from actkit.pipeline.input.reader import records_about
from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.atomic_files import Written
from actkit.runs.manifest import InputPosition, Manifest, save
from actkit.runs.progress import Progress

LINES = "".join(f"Sentence {number} is here.\n" for number in range(10, 50))
NOTE = re.compile(
    r"warning: the disk may be too small: (about|up to|for another shard) ([\d.]+) MB are still to be written, and "
    r"([\d.]+) MB are free; .*--resume"
)


class Usage(NamedTuple):
    """What shutil.disk_usage returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many bytes be free."""
    return lambda n: monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 0, n))


def captured(path: Path, out: Path, shard: int = 4, **more: int | bool) -> tuple[Finished, list[str]]:
    """A run over a file of lines, and what was noted on its way."""
    notes: list[str] = []

    def keep(progress: Progress) -> None:
        notes[:] = progress.notes

    output = OutputSpec(out, **more)  # type: ignore[arg-type]
    dense = DenseSpec(ModelSpec(device="cpu"), output, layers="1", batch=BatchSpec(shard_sequences=shard))
    return run_capture(CaptureSpec(path=str(path)), dense, on_progress=keep), notes


def test_what_is_left_is_told_once_by_what_was_written(tmp_path: Path, free: Callable[[int], None]) -> None:
    (tmp_path / "in.txt").write_text(LINES)
    free(150_000)
    finished, notes = captured(tmp_path / "in.txt", tmp_path / "run")
    (note,) = notes
    assert finished.facts["notes"] == [note]
    match = NOTE.match(note)
    assert match and match[1] == "about" and match[3] == "0.1"  # 0.15 rounds to even
    tables = finished.facts["tables"]
    whole = sum(table["bytes"] for name, table in tables.items() if name != "layer_stats")
    # After the first shard of ten, or the second where the first was still being written.
    assert any(float(match[2]) == pytest.approx(whole * left / 40 / 1e6, abs=0.06) for left in (36, 32))


@pytest.mark.slow
def test_a_disk_that_holds_it_is_not_mentioned(tmp_path: Path, free: Callable[[int], None]) -> None:
    (tmp_path / "in.txt").write_text(LINES)
    finished, _ = captured(tmp_path / "in.txt", tmp_path / "first")
    free(sum(table["bytes"] for table in finished.facts["tables"].values()))
    assert captured(tmp_path / "in.txt", tmp_path / "run")[1] == []


@pytest.mark.slow
def test_where_nothing_is_known_of_what_is_left_it_is_another_shard(
    tmp_path: Path, free: Callable[[int], None]
) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("in.txt", LINES)
    free(150_000)  # far less than the whole run takes, but more than a shard
    assert captured(tmp_path / "in.zip", tmp_path / "first")[1] == []
    free(10_000)
    (note,) = captured(tmp_path / "in.zip", tmp_path / "run")[1]
    match = NOTE.match(note)
    assert match and match[1] == "for another shard" and match[3] == "0.0"
    (note,) = captured(tmp_path / "in.zip", tmp_path / "some", max_records=20)[1]
    assert "up to" in note


@pytest.mark.slow
def test_records_that_were_not_asked_for_are_not_left(tmp_path: Path, free: Callable[[int], None]) -> None:
    (tmp_path / "in.txt").write_text(LINES * 1000)
    free(10**6)
    assert captured(tmp_path / "in.txt", tmp_path / "run", max_records=20)[1] == []
    free(100)
    assert len(captured(tmp_path / "in.txt", tmp_path / "other", max_records=20)[1]) == 1


@pytest.mark.slow
def test_a_run_of_one_shard_has_nothing_left(tmp_path: Path, free: Callable[[int], None]) -> None:
    (tmp_path / "in.txt").write_text(LINES)
    free(1)
    assert captured(tmp_path / "in.txt", tmp_path / "run", shard=100)[1] == []


@pytest.mark.slow
def test_the_command_line_says_it(
    tmp_path: Path, free: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"prompt": f"Question {number}?", "response": " Yes."} for number in range(12)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    free(1000)
    options = ["--device", "cpu", "--shard-sequences", "3", "-o", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as done:
        main(["sae-extract", str(tmp_path / "in.jsonl"), *options])
    assert not done.value.code
    assert len(NOTE.findall(capsys.readouterr().err)) == 1


@pytest.mark.parametrize(
    ("name", "text", "about"),
    [
        ("a.jsonl", '{"text": 1}\n' * 3, 3),
        ("a.txt", "one\ntwo\nthree", 3),
        ("a.csv", "text\none\n", 2),
        ("no-suffix", "one\n", 1),
        ("empty.jsonl", "", None),
        ("a.json", "[1,\n2]", 2),
        ("b.json", '{"rows": [1, 2]}', None),
        ("a.jsonl.gz", "no gzip", None),
        ("a.parquet", "no parquet", None),
    ],
)
def test_records_of_a_file_are_told_from_its_lines(name: str, text: str, about: int | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert records_about(str(tmp_path / name)) == about


def test_a_large_file_is_not_read_whole_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "SAMPLE", 1000)
    (tmp_path / "a.txt").write_text(LINES * 100)
    found = records_about(str(tmp_path / "a.txt"))
    assert found is not None and found != 4000 and abs(found - 4000) < 100


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("suffix", "packed"), [("jsonl.gz", gzip.compress), ("json", bytes), ("json.xz", lzma.compress)]
)
def test_so_is_a_packed_file_and_an_array(
    suffix: str, packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar needs a total; the share of the file that the sample took says how much is left."""
    monkeypatch.setattr(formats, "SAMPLE", 1 << 18)
    rng = random.Random(0)
    rows = [json.dumps({"text": "".join(rng.choices("abcdefgh ", k=400))}) for _ in range(4_000)]
    text = "\n".join(rows) if suffix.startswith("jsonl") else f"[{','.join(rows)}]"
    (tmp_path / f"a.{suffix}").write_bytes(packed(text.encode()))
    found = records_about(str(tmp_path / f"a.{suffix}"))
    assert found is not None and found != 4_000 and abs(found - 4_000) < 1_000


def test_parquet_says_how_many_rows_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"] * 77}), tmp_path / "a.parquet")
    assert records_about(str(tmp_path / "a.parquet")) == 77


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "-", "x" * 5000, "a\0b"):
        assert records_about(str(name)) is None


def finish(out: Path, part: int, size: int, read: int) -> None:
    """Have a shard of so many bytes finished."""
    folder = out.with_name(f"{out.name}.partial")
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    tables = {"tokens": Written(size, "", 1)}
    save(folder, Manifest(part, tables, None, Progress(), InputPosition(read=read), 1, 1), {})


def said(note: str | None) -> tuple[str, str, str]:
    match = NOTE.match(note or "")
    assert match, note
    return match[1], match[2], match[3]


def test_what_is_left_is_reckoned_by_the_records(tmp_path: Path, free: Callable[[int], None]) -> None:
    out = tmp_path / "run"
    free(5_000_000)
    watch = DiskSpaceWatch(OutputSpec(out), 100)
    assert watch.note() is None, "no shard is finished"
    finish(out, 0, 1_000_000, 20)
    assert watch.note() is None, "four times as much fits"
    finish(out, 1, 3_000_000, 40)
    free(5_900_000)
    assert said(watch.note()) == ("about", "6.0", "5.9")
    finish(out, 2, 9_000_000, 60)
    assert watch.note() is None, "it is said once"


def test_at_most_so_many_records_or_another_shard(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(1)
    finish(tmp_path / "run", 0, 2_000_000, 10)
    finish(tmp_path / "run", 1, 1_000_000, 20)
    for output, n_records, expected in (
        (OutputSpec(tmp_path / "run", max_records=30), None, ("up to", "1.5", "0.0")),
        (OutputSpec(tmp_path / "run", max_records=30), 1000, ("about", "1.5", "0.0")),
        (OutputSpec(tmp_path / "run"), None, ("for another shard", "2.0", "0.0")),
    ):
        assert said(DiskSpaceWatch(output, n_records).note()) == expected
    assert DiskSpaceWatch(OutputSpec(tmp_path / "run"), 20).note() is None, "all records are written"


def test_a_task_looks_at_its_own_shards(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(1)
    for part in (1, 3, 4):
        finish(tmp_path / "run", part, part * 1_000_000, 10)
    assert said(DiskSpaceWatch(OutputSpec(tmp_path / "run", task=Task(1, 2)), None).note())[1] == "3.0"
    assert DiskSpaceWatch(OutputSpec(tmp_path / "run", task=Task(0, 2)), None).note() is None


def test_a_damaged_manifest_is_somebody_elses_affair(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(1)
    finish(tmp_path / "run", 0, 1_000_000, 10)
    (tmp_path / "run.partial/shards/part-00000.json").write_text("{")
    watch = DiskSpaceWatch(OutputSpec(tmp_path / "run"), 100)
    assert watch.note() is None
    finish(tmp_path / "run", 0, 1_000_000, 10)
    assert watch.note() is None


def test_the_note_is_there_when_progress_is_told(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(1)
    finish(tmp_path / "run", 0, 1_000_000, 10)
    told: list[list[str]] = []
    tell = watching(OutputSpec(tmp_path / "run"), 100, lambda progress: told.append(list(progress.notes)))
    progress = Progress()
    for _ in range(3):
        tell(progress)
    assert [len(notes) for notes in told] == [1, 1, 1] and NOTE.match(told[0][0])
