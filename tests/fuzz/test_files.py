"""What a name can lead to: odd names, empty files, folders, pipes, links, and no file at all."""

import gzip
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import ActkitError, InputError
from actkit.pipeline.data import Record
from actkit.pipeline.input.corpus import find_corpus, read_documents
from actkit.pipeline.input.reader import read_records
from actkit.recipes.contrasts import contrasts_in
from actkit.recipes.conversations.pair_records import pairs_in
from actkit.recipes.conversations.pairs import PairsSpec
from tests.fuzz.damage import no_hang

NAMES = [
    "two words",
    "a\nb",
    "\u00e9\u0301\U0001f600",
    "-x",
    "~",
    "%s%n",
    "[b]",
    "a" * 200,
    "x..",
    "$(id)",
    "*",
    "\u202egpj",
]
SUFFIXES = ["txt", "jsonl", "json", "csv", "tsv", "txt.gz", "parquet"]


def pairs_of_any(path: str) -> Any:
    return pairs_in(path, PairsSpec())


def write(path: Path) -> None:
    """One record, in the format that the name says."""
    suffix = path.name.partition(".")[2].rpartition(".")[2] if path.name.endswith(".gz") else path.suffix[1:]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": ["one"]}), path)
        return
    data = {"json": b'[{"text": "one"}]', "jsonl": b'{"text": "one"}\n', "csv": b"text\none\n", "tsv": b"text\none\n"}
    raw = data.get(suffix, b"one\n")
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_that_is_text_is_read(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"{name}.{suffix}"
    write(path)
    for found in (list(read_records(str(path))), list(read_documents(find_corpus(str(path))))):
        (record,) = found
        assert isinstance(record, Record) and record.source == str(path)
        assert "one" in (record.value if isinstance(record.value, str) else record.value["text"])
    assert [document.source for document in read_documents(find_corpus(str(tmp_path)))] == [str(path)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_name_that_is_no_text_is_an_error_since_no_table_could_hold_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{os.fsdecode(bytes([255]))}.{suffix}"
    write(tmp_path / f"t.{suffix}")
    (tmp_path / f"t.{suffix}").rename(path)
    for where in (path, tmp_path, tmp_path / "*"):
        with pytest.raises(InputError, match="not valid UTF-8") as caught:
            list(read_documents(find_corpus(str(where))))
        caught.value.message.encode()
    with pytest.raises(InputError, match="not valid UTF-8"):
        read_records(str(path))  # before anything is read, or written


@pytest.mark.parametrize("suffix", [*SUFFIXES, "json.gz"])
def test_an_empty_file_holds_nothing_or_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.touch()
    try:
        assert list(read_records(str(path))) == [] and suffix not in ("csv", "tsv", "parquet")
    except InputError as error:
        assert str(path) in error.message and suffix in ("csv", "tsv", "parquet")
    for read in (pairs_of_any, contrasts_in):
        with pytest.raises(InputError, match=r"t\."):
            read(str(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_a_dangling_link_and_a_link_to_itself_are_errors(tmp_path: Path, suffix: str) -> None:
    for number, make in enumerate(
        [Path.mkdir, lambda path: path.symlink_to(tmp_path / "nowhere"), lambda path: path.symlink_to(path)]
    ):
        path = tmp_path / f"{number}.{suffix}"
        make(path)
        with pytest.raises(InputError) as caught:
            list(read_records(str(path)))
        assert caught.value.message.startswith(str(path)) and caught.value.hint


def feed(pipe: Path, data: bytes) -> None:
    """Write into a pipe until nobody reads it any more, or until it is gone with its test before it was opened."""
    with suppress(BrokenPipeError, FileNotFoundError):
        pipe.write_bytes(data)


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "json", "csv", "tsv", "txt.gz"])
def test_a_pipe_is_read_as_a_file_is(tmp_path: Path, suffix: str) -> None:
    whole, pipe = tmp_path / f"whole.{suffix}", tmp_path / f"pipe.{suffix}"
    write(whole)
    os.mkfifo(pipe)
    threading.Thread(target=feed, args=[pipe, whole.read_bytes()], daemon=True).start()
    with no_hang():
        assert [record.value for record in read_records(str(pipe))] == [
            record.value for record in read_records(str(whole))
        ]


def test_parquet_through_a_pipe_is_an_error_since_it_is_read_from_its_end(tmp_path: Path) -> None:
    whole, pipe = tmp_path / "whole.parquet", tmp_path / "pipe.parquet"
    write(whole)
    os.mkfifo(pipe)
    threading.Thread(target=feed, args=[pipe, whole.read_bytes()], daemon=True).start()
    with no_hang(), pytest.raises(InputError, match=r"pipe\.parquet"):
        list(read_records(str(pipe)))


@pytest.mark.parametrize("where", ["", ".", "/", "~", "\0", "a\0b.jsonl", "x" * 5000, "\n", "a/" * 3000, "*\0", "//"])
def test_what_is_no_file_is_an_error_for_every_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (read_records, pairs_of_any, contrasts_in):
        with pytest.raises(ActkitError) as caught:
            list(read(where))
        assert caught.value.hint and len(caught.value.hint) < 1000
    if where != "/":
        with pytest.raises(InputError):
            list(read_documents(find_corpus(where)))


@pytest.mark.parametrize(
    "where", ["https://me:hunter2@huggingface.co/x/y", "https://hf.co/x?token=hunter2", "hf_hunter2hunter2hunter2"]
)
def test_a_secret_in_a_name_is_not_repeated(where: str) -> None:
    for read in (read_records, pairs_of_any, contrasts_in, lambda name: list(read_documents(find_corpus(name)))):
        with pytest.raises(ActkitError) as caught:
            list(read(where))
        assert "hunter2" not in caught.value.message + caught.value.hint


RUN = ["run.json", "config.yaml", "sequences/part-00000.parquet", "rejected/part-00000.parquet"]


def make_run(folder: Path, unfinished: bool = False) -> None:
    for name in (*RUN[1:], "shards/part-00000.json", "lock") if unfinished else (*RUN, "reward_features.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps("of a run"))
    begun = {"fingerprint": {}, "replaces": False, "sessions": []}
    done = {"schema_version": 2, "command": "capture", "tables": {}}
    (folder / ("fingerprint.json" if unfinished else "run.json")).write_text(json.dumps(begun if unfinished else done))


@pytest.mark.parametrize("pattern", ["", "**/*", "**/*.json", "*/*"])
def test_a_corpus_does_not_hold_the_runs_that_were_made_inside_it(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "texts" / "runs").mkdir(parents=True)
    (tmp_path / "texts" / "a.json").write_text('"a text"')
    (tmp_path / "texts" / "runs" / "b.json").write_text('"beside a run"')
    (tmp_path / "texts" / "run.json").write_text('"no run, just called so"')
    make_run(tmp_path / "texts" / "runs" / "x")
    make_run(tmp_path / "texts" / "runs" / "y.partial", unfinished=True)
    make_run(tmp_path / "texts" / "runs" / ".z.replaced")
    make_run(tmp_path / "texts" / "x")
    files = find_corpus(str(tmp_path / "texts" / pattern)).files
    expected = {"a.json", "run.json", "runs/b.json"} if pattern != "*/*" else {"runs/b.json"}
    assert {str(Path(file).relative_to(tmp_path / "texts")) for file in files} == expected


def test_the_tables_of_a_run_can_be_named_themselves(tmp_path: Path) -> None:
    make_run(tmp_path / "x")
    assert len(find_corpus(str(tmp_path / "x" / "sequences")).files) == 1
    assert len(find_corpus(str(tmp_path / "x" / "sequences" / "*.parquet")).files) == 1
