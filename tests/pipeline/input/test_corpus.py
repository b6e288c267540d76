"""Corpora: every document of what is named is read once, in order, as it stands in its file or on the hub."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.corpus import find_corpus, read_documents
from actkit.pipeline.input.sources import InputSource, opened
from tests.serving import served


def write(folder: Path, texts: Mapping[str, str | bytes]) -> None:
    """Files by name, folders made as needed; what ends in .gz is compressed."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def read(where: Path | str, **options: Any) -> list[tuple[int, str, int | None, Any]]:
    """(record_id, file name, line, value) of every record, or of a rejected one its reason with a bang."""
    return [
        (
            document.record_id,
            Path(document.source).name,
            document.line,
            document.value if isinstance(document, Record) else "!" + document.reason,
        )
        for document in read_documents(find_corpus(str(where)), **options)
    ]


def names(where: Path | str) -> list[str]:
    return [Path(file).name for file in find_corpus(str(where)).files]


def error_of(where: Path | str, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read_documents(find_corpus(str(where)), **options))
    return caught.value


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "# One\n\ntwo\n", "b.txt": "x", "c.unknown": "y\nz", "d.text.gz": "packed\nup\n"})
    for name, text in {
        "a.md": "# One\n\ntwo\n",
        "b.txt": "x",
        "c.unknown": "y\nz",
        "d.text.gz": "packed\nup\n",
    }.items():
        assert read(tmp_path / name) == [(0, name, None, text)]


def test_by_line_each_line_of_a_text_file_is_a_document(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "# One\n\ntwo\r\n", "b.unknown": "y\nz", "c.jsonl": '{"text": "of JSON still"}\n'})
    assert read(tmp_path / "a.md", by_line=True) == [
        (0, "a.md", 1, "# One"),
        (1, "a.md", 2, "!empty line"),
        (2, "a.md", 3, "two"),
    ]
    assert read(tmp_path / "b.unknown", by_line=True) == [(0, "b.unknown", 1, "y"), (1, "b.unknown", 2, "z")]
    assert read(tmp_path / "c.jsonl", by_line=True) == [(0, "c.jsonl", 1, {"text": "of JSON still"})]


@pytest.mark.parametrize(
    "text", ["a\r\nb\r\n", "a\rb\n\r", "\n\n", " x \u2028 y\x0b\x0c\x85z \n", "e\u0301\ufeff\u200d"]
)
def test_every_character_of_a_text_file_is_kept(tmp_path: Path, text: str) -> None:
    """Windows line ends are two characters: translated, every later span would be off by one a line."""
    write(tmp_path, {"a.txt": text})
    assert read(tmp_path / "a.txt")[0][3] == text


def test_a_byte_order_mark_is_no_character_of_the_document(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"\xef\xbb\xbfone", "b.txt": b"\xef\xbb\xbf\xef\xbb\xbfone"})
    assert [row[3] for row in read(tmp_path)] == ["one", "\ufeffone"]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("by_line", [False, True])
def test_utf_16_is_read(tmp_path: Path, codec: str, by_line: bool) -> None:
    write(tmp_path, {"a.txt": "\ufeffone\n".encode(codec)})
    assert [value for *_, value in read(tmp_path / "a.txt", by_line=by_line)] == ["one" if by_line else "one\n"]


def test_a_text_file_that_is_no_utf_8_is_rejected_with_its_line_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "one", "b.txt": b"first\nsecond\nthird \xff\n", "c.txt": b"\xff", "d.txt": "two"})
    assert read(tmp_path) == [
        (0, "a.txt", None, "one"),
        (1, "b.txt", 3, "!not valid UTF-8"),
        (2, "c.txt", 1, "!not valid UTF-8"),
        (3, "d.txt", None, "two"),
    ]


def test_records_are_numbered_through_all_files_the_bad_ones_too(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": '{"text": "1"}\n{\n"2"\n', "b.txt": "3", "c.json": '["4",\n"5"]'})
    write(tmp_path, {"d.csv": "text,n\nsix,7\n"})
    pq.write_table(pa.table({"text": ["eight", None]}), tmp_path / "e.parquet")
    found = read(tmp_path)
    assert found.pop(1)[:3] == (1, "a.jsonl", 2)
    assert found == [
        (0, "a.jsonl", 1, {"text": "1"}),
        (2, "a.jsonl", 3, "2"),
        (3, "b.txt", None, "3"),
        (4, "c.json", 1, "4"),
        (5, "c.json", 2, "5"),
        (6, "d.csv", 2, {"text": "six", "n": "7"}),
        (7, "e.parquet", None, {"text": "eight"}),
        (8, "e.parquet", None, {"text": None}),
    ]


def test_compressed_files_of_every_format_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl.gz": '{"text": "1"}\n', "b.json.gz": '["2"]', "c.tsv.gz": "text\n3\n"})
    write(tmp_path, {"d.md.gz": "4\n", "e.csv.gz": "t\n5"})
    assert [value for *_, value in read(tmp_path)] == [{"text": "1"}, "2", {"text": "3"}, "4\n", {"t": "5"}]


def test_a_directory_is_searched_through_in_order_of_names(tmp_path: Path) -> None:
    """Hidden files and folders are left out; what is in no known format is counted."""
    write(tmp_path, {"b.txt": "", "a/z.md": "", "a/c/d.jsonl": "", "a/B.TXT": "", "k.bin": b"\xff", "a/LICENSE": ""})
    write(tmp_path, {".hidden.txt": "", ".git/x.txt": "", "a/.y.md": ""})
    assert (tmp_path / ".hidden.txt").is_file() and (tmp_path / ".git" / "x.txt").is_file()
    corpus = find_corpus(str(tmp_path))
    found = [str(Path(file).relative_to(tmp_path)) for file in corpus.files]
    assert found == ["a/B.TXT", "a/c/d.jsonl", "a/z.md", "b.txt"]
    assert corpus.facts() == {"files": 4, "ignored_files": 2}


def test_a_directory_below_a_hidden_one_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, {".cache/x/a.txt": "one"})
    assert names(tmp_path / ".cache" / "x") == ["a.txt"]


def test_a_directory_without_anything_to_read_says_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, {"sub/a.bin": "", "sub/b.exe": ""})
    error = error_of(tmp_path / "sub")
    assert error.message == f"{tmp_path / 'sub'}: no file that can be read (it has a.bin, b.exe)"
    assert ".jsonl" in error.hint and ".md" in error.hint
    (tmp_path / "empty").mkdir()
    assert error_of(tmp_path / "empty").message == f"{tmp_path / 'empty'}: no file that can be read"


def test_globs_are_resolved_here_as_quotes_keep_the_shell_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"b.md": "", "a.md": "", "c.txt": "", "sub/d.md": "", "sub/deep/e.md": "", "dir.md/f.txt": ""})
    assert names(tmp_path / "*.md") == ["a.md", "b.md"]
    assert names(tmp_path / "[bc].*") == ["b.md", "c.txt"]
    assert names(tmp_path / "**" / "*.md") == ["a.md", "b.md", "d.md", "e.md"]
    monkeypatch.chdir(tmp_path)
    assert find_corpus("sub/?.md") == InputSource(("sub/d.md",))
    assert error_of("*.json").message == "*.json: no file matches"


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"story[1].txt": "brackets", "story1.txt": "digit"})
    assert read(tmp_path / "story[1].txt") == [(0, "story[1].txt", None, "brackets")]


def test_a_file_that_two_stars_reach_twice_is_one_document(tmp_path: Path) -> None:
    write(tmp_path, {"a/b/x.md": "once"})
    assert read(tmp_path / "**" / "**" / "*.md") == [(0, "x.md", None, "once")]


def test_a_link_to_a_folder_above_does_not_multiply_documents(tmp_path: Path) -> None:
    write(tmp_path, {"a/x.md": "once"})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert read(tmp_path) == [(0, "x.md", None, "once")]
    assert read(tmp_path / "**" / "*.md") == [(0, "x.md", None, "once")]


def test_a_missing_file_is_an_error_that_names_the_near_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"stories.jsonl": "", "story.txt": "", "other.csv": ""})
    error = error_of(tmp_path / "storys.jsonl")
    assert error.message == f"{tmp_path / 'storys.jsonl'}: no such file"
    assert error.hint == "in the same folder: stories.jsonl"
    monkeypatch.chdir(tmp_path)  # one slash at most, as in the id of a dataset; the suffix tells
    assert error_of("./storys.jsonl").hint == "in the same folder: stories.jsonl"
    assert error_of("sub/storys.jsonl").message == "sub/storys.jsonl: no such file"
    assert error_of("a/b/c").message == "a/b/c: no such file"


@pytest.mark.parametrize("where", ["x" * 5000, "Once upon a time. " * 500, "What is **bold**? " * 500])
def test_a_text_given_where_a_path_belongs_is_an_error_and_no_traceback(where: str) -> None:
    assert error_of(where).message.startswith(where[:20])


def test_ids_of_datasets_are_told_from_paths() -> None:
    for where in ("wikitext", "Salesforce/wikitext", "Salesforce/wikitext:wikitext-2-raw-v1", "a.b/c_d-e:1.0"):
        assert find_corpus(where) == InputSource((), dataset=where)
        assert find_corpus(where).facts() == {"dataset": where}


@pytest.mark.parametrize("by_line", [False, True])
def test_standard_input_is_jsonl_or_lines_of_text(monkeypatch: pytest.MonkeyPatch, by_line: bool) -> None:
    data = b'{"text": "one"}\n\n"two"\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    expected = [(0, 1, '{"text": "one"}' if by_line else {"text": "one"}), (2, 3, '"two"' if by_line else "two")]
    found = read("-", by_line=by_line)
    assert [(number, line, value) for number, _, line, value in found if number != 1] == expected
    assert found[1] == (1, "<stdin>", 2, "!empty line")


@pytest.mark.parametrize("by_line", [False, True])
def test_records_in_a_file_whose_name_says_nothing_are_no_text(tmp_path: Path, by_line: bool) -> None:
    lines = '{"text": "One."}\n{"text": "Two."}\n'
    write(tmp_path, {"lines": lines, "code": '{"a": 1}\n', "named.txt": lines})
    assert [value["text"] for *_, value in read(tmp_path / "lines", by_line=by_line)] == ["One.", "Two."]
    for name, text in (("code", '{"a": 1}\n'), ("named.txt", lines)):
        found = "".join(f"{value}\n" if by_line else value for *_, value in read(tmp_path / name, by_line=by_line))
        assert found == text


def test_documents_are_read_one_at_a_time(tmp_path: Path) -> None:
    """The first document is there before the last file is opened."""
    write(tmp_path, {"a.txt": "one", "b.txt": "two"})
    records = read_documents(find_corpus(str(tmp_path)))
    assert isinstance(first := next(records), Record) and first.value == "one"
    (tmp_path / "b.txt").write_text("changed")
    assert isinstance(second := next(records), Record) and second.value == "changed"
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputError, match=r"b\.txt: No such file"):
        list(read_documents(InputSource((str(tmp_path / "b.txt"),))))


CARD = """---
configs:
- config_name: plain
  default: true
  data_files:
  - {split: train, path: plain/train.jsonl}
  - {split: test, path: plain/test.jsonl}
- config_name: other
  data_files:
  - {split: test, path: other/test.jsonl}
---
"""


HUB_FILES = {
    "README.md": CARD.encode(),
    "plain/train.jsonl": b'{"text": "of train"}\n',
    "plain/test.jsonl": b'{"text": "first of test"}\n{"text": "second of test, \xe2\x82\xac"}\n',
    "other/test.jsonl": b"".join(b'{"text": "other %d"}\n' % number for number in range(3)),
}
COMMIT = "a" * 40


def listing(folder: str) -> list[dict[str, Any]]:
    """The files and folders of one folder of the dataset."""
    start = f"{folder}/" if folder else ""
    inside = {name: data for name, data in HUB_FILES.items() if name.startswith(start)}
    folders = sorted({name[len(start) :].split("/")[0] for name in inside if "/" in name[len(start) :]})
    return [
        *({"type": "directory", "path": start + name, "size": 0, "oid": COMMIT} for name in folders),
        *(
            {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
            for name, data in inside.items()
            if "/" not in name[len(start) :]
        ),
    ]


class HubHandler(BaseHTTPRequestHandler):
    """The part of the hub's API that `load_dataset(…, streaming=True)` calls, for one dataset, `some/stories`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if match := re.fullmatch(r"/datasets/some/stories/resolve/[^/]+/(.+)", path):
            self.file(match[1])
        elif match := re.fullmatch(r"/api/datasets/some/stories/tree/[^/]+/?(.*)", path):
            self.answer(200, json.dumps(listing(match[1].strip("/"))).encode())
        elif re.fullmatch(r"/api/datasets/some/stories(/revision/[^/]+)?", path):
            siblings = [{"rfilename": name} for name in HUB_FILES]
            self.answer(200, json.dumps({"id": "some/stories", "sha": COMMIT, "siblings": siblings}).encode())
        else:
            self.answer(404, headers={"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def do_POST(self) -> None:
        """Which of some paths there are: what `HfFileSystem` asks before it opens one."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        files = [{"type": "file", "path": name, "size": len(data), "oid": COMMIT} for name, data in HUB_FILES.items()]
        self.answer(200, json.dumps([file for file in files if file["path"] in asked]).encode())

    def file(self, name: str) -> None:
        if name not in HUB_FILES:
            return self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        data, headers = HUB_FILES[name], {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            part = data[int(wanted[1]) : int(wanted[2]) + 1]
            headers["Content-Range"] = f"bytes {wanted[1]}-{wanted[2]}/{len(data)}"
            return self.answer(206, part, headers)
        return self.answer(200, data, headers)

    def answer(self, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """No log: what the test prints is its own."""


@contextmanager
def fake_hub(home: Path) -> Iterator[dict[str, str]]:
    """A hub on this machine; yields the environment of a process that uses it in place of the real one."""
    with served(HubHandler) as address:
        own = {
            "HF_ENDPOINT": address,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        yield {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | own


PATHS = ("", "/plain/test.jsonl", "/plain/*.jsonl", "/other", "/plain/nowhere.jsonl")
READ_HUB = """
import json, sys
from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.corpus import find_corpus, read_documents
found = {}
for where, split in json.loads(sys.argv[1]):
    try:
        found_there = read_documents(find_corpus(where, split), ReadSpec(split))
        rows = [(one.record_id, one.source, one.line, one.value) for one in found_there]
    except InputError as error:
        rows = [error.message, error.hint]
    found[f"{where} {split}"] = rows
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def from_hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`id split` → the records, or the error's message and hint: the real library in a process of its own."""
    asked = [
        *(("some/stories", split) for split in ("train", "test", "nowhere")),
        *((f"some/stories:{name}", "test") for name in ("other", "missing")),
        ("some/unknown", "train"),
        *((f"hf://datasets/some/stories{path}", "train") for path in PATHS),
    ]
    folder = tmp_path_factory.mktemp("hub")
    with fake_hub(folder / "home") as environment:
        command = [sys.executable, "-c", READ_HUB, json.dumps(asked)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr == ""
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.slow
def test_a_dataset_of_the_hub_is_read_split_by_split(from_hub: dict[str, Any]) -> None:
    assert from_hub["some/stories train"] == [[0, "some/stories", None, {"text": "of train"}]]
    assert from_hub["some/stories test"] == [
        [0, "some/stories", None, {"text": "first of test"}],
        [1, "some/stories", None, {"text": "second of test, €"}],
    ]


@pytest.mark.slow
@pytest.mark.slow
def test_a_configuration_of_a_dataset_is_named_after_a_colon(from_hub: dict[str, Any]) -> None:
    assert from_hub["some/stories:other test"] == [
        [number, "some/stories:other", None, {"text": f"other {number}"}] for number in range(3)
    ]


@pytest.mark.slow
def test_files_of_the_hub_are_streamed_by_their_paths(from_hub: dict[str, Any]) -> None:
    """By the library's own file system, against a hub on this machine."""

    def lines(path: str) -> list[Any]:
        found = from_hub[f"hf://datasets/some/stories{path} train"]
        assert [number for number, *_ in found] == list(range(len(found)))
        return [(Path(source).name, line, value["text"]) for _, source, line, value in found]

    test = [("test.jsonl", 1, "first of test"), ("test.jsonl", 2, "second of test, €")]
    assert lines("") == [("stories", None, "of train")]
    assert lines("/plain/test.jsonl") == test
    assert lines("/plain/*.jsonl") == [*test, ("train.jsonl", 1, "of train")]
    assert lines("/other") == [("test.jsonl", n + 1, f"other {n}") for n in range(3)]
    message, hint = from_hub["hf://datasets/some/stories/plain/nowhere.jsonl train"]
    assert message.startswith("hf://datasets/some/stories/plain/nowhere.jsonl: cannot be read from the hub") and hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("some/unknown train", "'some/unknown' doesn't exist on the Hub"),
        ("some/stories nowhere", "Bad split: nowhere. Available splits: ['train', 'test']"),
        ("some/stories:missing test", "'missing' not found. Available: ['plain', 'other']"),
    ],
)
def test_what_the_hub_does_not_have_is_one_clear_error(from_hub: dict[str, Any], asked: str, says: str) -> None:
    message, hint = from_hub[asked]
    assert message.startswith(f"{asked.split()[0]}: neither a local path nor a dataset that can be read (")
    assert says in message and "\n" not in message and "--split" in hint


def test_without_a_connection_a_dataset_is_one_clear_error() -> None:
    """The tests run with the hub switched off."""
    error = error_of("some/stories")
    assert error.message.startswith("some/stories: neither a local path nor") and "\n" not in error.message


def test_a_dataset_is_looked_up_before_it_is_read() -> None:
    for where in ("some/stories", "some/stories:plain"):
        with pytest.raises(InputError, match=f"{where}: neither a local path nor a dataset") as caught:
            opened(find_corpus(where))
        assert "HF_HUB_OFFLINE is set" in caught.value.hint


def test_files_need_no_looking_up(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "one"})
    corpus = find_corpus(str(tmp_path))
    assert opened(corpus) is corpus


@pytest.mark.parametrize("where", ["-stories", "some/stories-", "a..b", "a--b/c", "x" * 97, "some/stories.git"])
def test_what_no_dataset_can_be_called_is_a_missing_file(where: str) -> None:
    assert error_of(where).message == f"{where}: no such file"


def test_a_rejected_document_has_its_place(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"fine\n\xff"})
    (record,) = read_documents(find_corpus(str(tmp_path)))
    assert isinstance(record, Rejected) and record.place == f"{tmp_path / 'a.txt'}:2"


def test_a_link_that_leads_nowhere_is_no_file_that_can_be_left_out(tmp_path: Path) -> None:
    """In a cache that was cleared one of several shards is such a link, and its records were lost without a word."""
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "notes.bin").symlink_to("nowhere")
    assert len(find_corpus(str(tmp_path)).files) == 1, "a name of no known format is no input"
    link = tmp_path / "b.jsonl"
    link.symlink_to("../blobs/1f")
    for where in (tmp_path, tmp_path / "*.jsonl", link):
        with pytest.raises(InputError) as caught:
            find_corpus(str(where))
        assert caught.value.message == f"{link}: this link leads to ../blobs/1f, which is not there"
    (tmp_path.parent / "blobs").mkdir(exist_ok=True)
    (tmp_path.parent / "blobs" / "1f").write_text('{"text": "two"}\n')
    assert len(find_corpus(str(tmp_path)).files) == 2
