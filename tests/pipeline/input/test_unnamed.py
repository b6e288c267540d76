"""Files and streams whose name says no format: what is JSON or a table is read as such, and lines are said to be."""

import bz2
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actkit.pipeline.input.reader import delimiter_of, read_records
from actkit.pipeline.input.records import Record
from tests.command_line import Run

ROWS = [{"prompt": "Hello, you", "id": "1"}, {"prompt": "World", "id": "2"}]
FORMS = {
    "an array, a line": json.dumps(ROWS),
    "an array, indented": json.dumps(ROWS, indent=2),
    "an array, a line each": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "objects": "".join(json.dumps(row) + "\n" for row in ROWS),
    "objects, indented": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "CSV": 'prompt,id\n"Hello, you",1\nWorld,2\n',
    "TSV": "prompt\tid\nHello, you\t1\nWorld\t2\n",
    "objects of a Mac, indented": "\r".join(json.dumps(row, indent=1).replace("\n", "\r") for row in ROWS),
    "objects, of a Mac": "".join(json.dumps(row) + "\r" for row in ROWS),
    "CSV of a Mac": 'prompt,id\r"Hello, you",1\rWorld,2\r',
    "CSV of Excel": '\ufeffprompt;id\r\n"Hello, you";1\r\nWorld;2\r\n',
}
LINES = ("an array, a line", "objects", "objects, of a Mac")
"""Forms that are lines of text too."""
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", PACKED)
def test_what_a_file_without_a_telling_name_begins_with_tells(tmp_path: Path, form: str, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(PACKED[suffix](FORMS[form].encode()))
    for default in ("jsonl", "text") if form not in LINES else ("jsonl",):
        found = list(read_records(str(path), default))
        assert [record.value for record in found if isinstance(record, Record)] == ROWS
        assert [record.record_id for record in found] == [0, 1]


@pytest.mark.quick(3)
@pytest.mark.parametrize("form", FORMS)
def test_prompts_on_standard_input_are_what_they_are(
    tmp_path: Path, actkit: Run, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(FORMS[form].encode()))))
    assert actkit("capture", "-", "--layers", 1, "-o", tmp_path / "run").status == 0
    assert list(pd.read_parquet(tmp_path / "run/sequences")["text"]) == ["Hello, you", "World"]


@pytest.mark.parametrize(
    "text", ["Dear user, thanks\nfor all", "Hello, text\nand, so", "prompt\nx", "text, label\na,b", "a,b\n1,2"]
)
def test_a_text_with_commas_is_no_table(text: str) -> None:
    assert delimiter_of(text.encode()) is None


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", ["p.yaml", "p.html", "p.log", "p", "p.gz", "p.txt", "d", "d/*.txt"])
def test_lines_are_said_to_be_prompts(tmp_path: Path, actkit: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of any name, and of those in a folder."""
    text = b"<|im_start|>user\r\nHi there<|im_end|>\r\n"
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.txt").write_bytes(text)
    if not name.startswith("d"):
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    monkeypatch.chdir(tmp_path)
    done = actkit("capture", name, "--layers", 1, "-o", tmp_path / "run")
    assert done.status == 0 and "each line of a text file is a prompt" in done.err
    assert list(pd.read_parquet(tmp_path / "run/sequences")["text"]) == text.decode().split("\r\n")[:2]


@pytest.mark.slow
def test_documents_of_any_name_are_said_to_be(tmp_path: Path, actkit: Run) -> None:
    (tmp_path / "p.html").write_text("<p>Hello fox</p>\n<p>x</p>")
    done = actkit("feature-dataset", tmp_path / "p.html", "-o", tmp_path / "run")
    assert done.status == 0 and "each text file is a document" in done.err
    documents: list[Any] = [{"text": "Hello fox"}, {"text": "World"}]
    (tmp_path / "blob").write_text(json.dumps(documents, indent=1))
    (tmp_path / "line").write_text(json.dumps(documents))
    for name in ("blob", "line"):
        assert actkit("feature-dataset", tmp_path / name, "-o", tmp_path / f"run-{name}").status == 0
        assert list(pd.read_parquet(tmp_path / f"run-{name}/sequences")["text"].str[-5:]) == ["o fox", "World"]
