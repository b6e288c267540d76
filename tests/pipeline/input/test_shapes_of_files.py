"""Files as other programs leave them: pandas, datasets, archives, folders, the hub. The same rows come out of each."""

import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actkit.api.run_location import rows_in
from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.class_names import ClassName
from actkit.pipeline.input.reader import read_records, records_about
from actkit.pipeline.input.records import Record, Rejected

ROWS = [
    {"prompt": "How do tides work?", "chosen": "The moon.", "rejected": "I do not know."},
    {"prompt": "Name a fruit.", "chosen": "A banana, yellow.", "rejected": 'A "rock".'},
    {"prompt": "What is 7 times 6?", "chosen": "42\nor so", "rejected": "41"},
]


def values(where: Path | str, read: ReadSpec | None = None, default: str = "jsonl") -> list[Any]:
    """The values of all records, none of them rejected, numbered 0, 1, 2 …"""
    found = list(read_records(str(where), default, read))
    assert [record.record_id for record in found] == list(range(len(found)))
    assert not [record for record in found if isinstance(record, Rejected)]
    return [record.value for record in found if isinstance(record, Record)]


def error_of(where: Path | str, read: ReadSpec | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read_records(str(where), "jsonl", read))
    return caught.value


FRAME = pd.DataFrame(ROWS)
JSON_SHAPES = {
    "columns": FRAME.to_json(),
    "index": FRAME.to_json(orient="index"),
    "split": FRAME.to_json(orient="split"),
    "records": FRAME.to_json(orient="records"),
    "lines": FRAME.to_json(orient="records", lines=True),
    "indented": FRAME.to_json(orient="columns", indent=2),
    "spaced": json.dumps(json.loads(FRAME.to_json()), indent=1, separators=(" , ", " : ")),
    "lists": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "data": json.dumps({"data": ROWS}),
    "versioned": json.dumps({"version": "1.1", "about": {"by": ["me"]}, "data": ROWS, "n": 3}),
    "train": json.dumps({"test": ROWS[:1], "train": ROWS}),
    "named": json.dumps({"preferences": ROWS}),
    "hub rows": json.dumps(
        {"features": [{"name": "prompt"}], "rows": [{"row_idx": n, "row": r} for n, r in enumerate(ROWS)]}
    ),
}


@pytest.mark.parametrize("shape", JSON_SHAPES)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_json_in_every_orientation_of_pandas_and_in_wrappers_is_its_rows(
    tmp_path: Path, shape: str, suffix: str
) -> None:
    data = JSON_SHAPES[shape].encode()
    path = tmp_path / f"t{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    assert values(path) == ROWS


def test_the_table_orientation_has_its_index_too(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(FRAME.to_json(orient="table"))
    assert values(tmp_path / "t.json") == [{"index": n, **row} for n, row in enumerate(ROWS)]


def test_a_split_that_a_file_does_not_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"train": ROWS, "test": ROWS[:1]}))
    assert values(tmp_path / "t.json", ReadSpec("test")) == ROWS[:1]
    error = error_of(tmp_path / "t.json", ReadSpec("validation"))
    assert error.message.endswith("there is no split validation") and "train, test" in error.hint


RECORDS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"chosen": [{"role": "user", "content": "Hi"}], "rejected": [{"role": "user", "content": "Hi"}]},
    {"input": {"messages": [{"role": "user", "content": "Hi"}]}, "preferred_output": [{"role": "a", "content": "b"}]},
    {"prompt": "Hi", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]},
    {"info": {"post": "Hi"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0},
    {"chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}, "n": 1},
    {"id": 7, "text": "Hi", "data": [{"a": 1}]},
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: next(iter(record)))
def test_one_record_of_json_stays_one_record(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(record))
    assert values(tmp_path / "t.json") == [record]
    (tmp_path / "t.json").write_text("\n".join(json.dumps(record, indent=1) for _ in range(3)))
    assert values(tmp_path / "t.json") == [record] * 3


@pytest.mark.parametrize("shape", ["columns", "index", "split", "data"])
def test_what_is_cut_off_or_does_not_fit_is_an_error(tmp_path: Path, shape: str) -> None:
    (tmp_path / "t.json").write_text(JSON_SHAPES[shape][:-6])
    assert str(tmp_path) in error_of(tmp_path / "t.json").message
    (tmp_path / "t.json").write_text('{"a": {"0": "x", "1": "y"}, "b": {"0": "z"}}')
    assert "orient='records', lines=True" in error_of(tmp_path / "t.json").hint


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["columns", "lists", "data", "split", "index"])
def test_columns_and_wrappers_are_never_held_in_memory(tmp_path: Path, shape: str) -> None:
    """24 MB within 8 MB."""
    texts = [{"prompt": f"{n} " + "x" * 8000, "chosen": "y" * 8000} for n in range(1500)]
    frame = pd.DataFrame(texts)
    made: dict[str, Callable[[], str]] = {
        "lists": lambda: json.dumps(frame.to_dict("list")),
        "data": lambda: json.dumps({"data": frame.to_dict("records")}),
    }
    (tmp_path / "t.json").write_text(made[shape]() if shape in made else frame.to_json(orient=shape))
    tracemalloc.start()
    try:
        count = sum(isinstance(record, Record) for record in read_records(str(tmp_path / "t.json")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 1500 and peak < 8_000_000


@pytest.mark.parametrize("text", [json.dumps(ROWS, indent=1), "[" + ",\n".join(map(json.dumps, ROWS)) + "]"])
def test_an_array_that_is_called_jsonl_is_read_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    assert values(tmp_path / "t.jsonl") == ROWS


def csv_text(**options: Any) -> str:
    text = io.StringIO()
    FRAME.to_csv(text, index=False, **options)
    return text.getvalue()


CSV = {
    "comma": csv_text(),
    "semicolon": csv_text(sep=";"),
    "bar": csv_text(sep="|"),
    "tab": csv_text(sep="\t"),
    "told": "sep=;\r\n" + csv_text(sep=";"),
    "blank lines before": "\n\r\n" + csv_text(),
    "all quoted": csv_text(quoting=1),
    "backslash": csv_text(quoting=1, doublequote=False, escapechar="\\"),
    "old Mac": csv_text(quoting=1, lineterminator="\r").replace("42\nor so", "42\ror so"),
    "excel": "\ufeff" + csv_text(lineterminator="\r\n"),
}


@pytest.mark.parametrize("way", CSV)
def test_csv_in_the_ways_that_programs_write_it_is_the_same_rows(tmp_path: Path, way: str) -> None:
    (tmp_path / "t.csv").write_bytes(CSV[way].encode())
    found = values(tmp_path / "t.csv")
    assert [{**row, "chosen": row["chosen"].replace("\r", "\n")} for row in found] == ROWS


def test_spaces_before_quotes_and_columns_without_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text, label,\n"a, b", "c, d",\n"e", "f",\n')
    assert values(tmp_path / "t.csv") == [
        {"text": "a, b", "label": "c, d", "column_3": ""},
        {"text": "e", "label": "f", "column_3": ""},
    ]


def test_quotes_in_tsv_that_are_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('text\tlabel\n"Well\t1\nsaid" he said\t0\n"both"\t1\n')
    assert [row["text"] for row in values(tmp_path / "t.tsv")] == ['"Well', 'said" he said', '"both"']


HEADERLESS = "I love this so much.\t17,3\ted00q6i\nThat is bad\t2\teezlygj\n"


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_a_file_without_header_is_recognised_and_read_with_columns(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HEADERLESS)
    error = error_of(tmp_path / name)
    assert error.message.startswith(f"{tmp_path / name}:1: the first line is data, not the names of columns")
    assert "'I love this so much.'" in error.message and "--columns text,label,column_3" in error.hint
    rows = [{"text": "I love this so much.", "labels": "17,3", "id": "ed00q6i"}]
    rows.append({"text": "That is bad", "labels": "2", "id": "eezlygj"})
    assert values(tmp_path / name, ReadSpec(columns="text,labels, id")) == rows
    assert "3 fields where --columns names 2" in error_of(tmp_path / name, ReadSpec(columns="a,b")).message
    assert "a name of its own" in error_of(tmp_path / name, ReadSpec(columns="a,,b")).message


def test_a_header_is_no_data_though_it_has_numbers_or_words_of_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,0,1,positive,negative\nx,1,0,1,0\n")
    assert values(tmp_path / "t.csv") == [{"text": "x", "0": "1", "1": "0", "positive": "1", "negative": "0"}]
    (tmp_path / "t.csv").write_text("text,label\nx,1\n")
    assert "leave out --columns" in error_of(tmp_path / "t.csv", ReadSpec(columns="text,label")).hint


def test_arrow_files_and_streams(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS * 200)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    FRAME.to_feather(tmp_path / "t.feather", compression="lz4")
    assert values(tmp_path / "file.arrow") == values(tmp_path / "stream.arrow") == ROWS * 200
    assert values(tmp_path / "t.feather") == ROWS
    assert records_about(str(tmp_path / "file.arrow")) == 600 and records_about(str(tmp_path / "stream.arrow")) is None
    (tmp_path / "broken.arrow").write_bytes((tmp_path / "file.arrow").read_bytes()[:-200])
    assert error_of(tmp_path / "broken.arrow").message.startswith(f"{tmp_path / 'broken.arrow'}: not a readable Arrow")


def labelled() -> Any:
    """A dataset whose class 0 is called positive."""
    import datasets

    names = datasets.ClassLabel(names=["positive", "negative"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": names,
            "several": datasets.List(names),
            "none": names,
            "by": {"ada": names, "all": datasets.List({"label": names})},
        }
    )
    rows = {
        "text": ["good", "bad"],
        "label": [0, 1],
        "several": [[0, 1], []],
        "none": [-1, 0],
        "by": [{"ada": 0, "all": [{"label": 1}]}, {"ada": 1, "all": []}],
    }
    return datasets.Dataset.from_dict(rows, features=features)


NAMED = [
    {
        "text": "good",
        "label": "positive",
        "several": ["positive", "negative"],
        "none": None,
        "by": {"ada": "positive", "all": [{"label": "negative"}]},
    },
    {"text": "bad", "label": "negative", "several": [], "none": "positive", "by": {"ada": "negative", "all": []}},
]


def test_names_of_classes_are_read_from_parquet_arrow_and_saved_datasets(tmp_path: Path) -> None:
    import datasets

    dataset = labelled()
    dataset.to_parquet(str(tmp_path / "t.parquet"))
    dataset.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"train": dataset, "test": dataset.select([1])}).save_to_disk(str(tmp_path / "splits"))
    (shard,) = (tmp_path / "saved").glob("*.arrow")
    for where in (tmp_path / "t.parquet", tmp_path / "saved", tmp_path / "splits", shard):
        assert values(where) == NAMED
    assert values(tmp_path / "splits", ReadSpec("test")) == NAMED[1:]
    assert "--split names one of test, train" in error_of(tmp_path / "splits", ReadSpec("dev")).hint
    label = values(tmp_path / "t.parquet")[0]["label"]
    assert isinstance(label, ClassName) and label.number == 0


def test_objects_of_a_table_have_the_fields_that_they_were_written_with(tmp_path: Path) -> None:
    """Parquet gives every tool the parameters of all the others, as null: a chat template would write them out."""
    import datasets

    def asked(name: str, parameter: str) -> dict[str, Any]:
        call = {"name": name, "arguments": {parameter: "x"}}
        return {"tools": [{"name": name, "parameters": {parameter: {"type": "string"}}}], "calls": [[call]], "n": None}

    rows = [asked("weather", "city"), asked("time", "zone")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "README.md").write_text("---\nconfigs:\n- config_name: default\n---\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "repository" / "train.parquet")
    for where in (tmp_path / "t.parquet", tmp_path / "saved", tmp_path / "repository"):
        assert values(where) == rows


def test_a_folder_that_save_to_disk_wrote_and_somebody_damaged(tmp_path: Path) -> None:
    labelled().save_to_disk(str(tmp_path / "saved"))
    (shard,) = (tmp_path / "saved").glob("*.arrow")
    shard.write_bytes(shard.read_bytes()[:100])
    assert "not a readable dataset of save_to_disk" in error_of(tmp_path / "saved").message


def test_a_folder_holds_files_in_order_and_a_readme_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    (tmp_path / "a.json").write_text(json.dumps([ROWS[0]]))
    (tmp_path / "c").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS[2:]), tmp_path / "c" / "c.parquet")
    (tmp_path / "README.md").write_text("# About\n")
    assert values(tmp_path) == ROWS == values(tmp_path / "**" / "*.*[lnt]")
    (tmp_path / "notes.txt").write_text("one\n")
    assert values(tmp_path / "*.txt", default="text") == ["one"]
    assert next(read_records(str(tmp_path), "jsonl")).source == str(tmp_path / "a.json")


def test_a_folder_whose_names_say_splits_is_read_split_by_split(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number, row in enumerate(ROWS):
        split = "test" if number == 2 else "train"
        pq.write_table(pa.Table.from_pylist([row]), data / f"{split}-{number:05}-of-00003.parquet")
    assert values(tmp_path) == ROWS[:2] and values(tmp_path, ReadSpec("test")) == ROWS[2:]
    assert records_about(str(tmp_path)) == 2
    assert "--split names one of test, train" in error_of(tmp_path, ReadSpec("validation")).hint


CARD = """---
license: mit
configs:
- config_name: default
  data_files:
  - {split: train, path: rows/a.jsonl}
  - {split: holdout, path: rows/b.jsonl}
- config_name: other
  data_files: other.jsonl
---
# About
"""


def laid_out(folder: Path) -> Path:
    """A folder as the repository of a dataset on the hub is laid out."""
    (folder / "rows").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "rows" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]))
    (folder / "rows" / "b.jsonl").write_text(json.dumps(ROWS[2]) + "\n")
    (folder / "other.jsonl").write_text('{"text": "of the other"}\n')
    return folder


def test_a_folder_with_a_datasets_card_is_read_as_the_card_says(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "owner")
    assert values(folder) == ROWS[:2] and values(folder, ReadSpec("holdout")) == ROWS[2:]
    assert values(f"{folder}:other") == [{"text": "of the other"}]
    assert "Available splits" in error_of(folder, ReadSpec("test")).message


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local cache of the hub, with the dataset some/rows in it, and the hub switched off."""
    root = tmp_path / "hub" / "datasets--some--rows"
    laid_out(root / "snapshots" / ("a" * 40))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("some/rows", ROWS[:2]),
        ("hf://datasets/some/rows", ROWS[:2]),
        ("some/rows:other", [{"text": "of the other"}]),
        ("hf://datasets/some/rows/rows/a.jsonl", ROWS[:2]),
        ("hf://datasets/some/rows@main/rows/*.jsonl", ROWS),
        ("hf://datasets/some/rows/rows", ROWS),
        ("https://huggingface.co/datasets/some/rows/resolve/main/rows/b.jsonl", ROWS[2:]),
        ("https://huggingface.co/datasets/some/rows", ROWS[:2]),
    ],
)
def test_a_dataset_in_the_cache_of_the_hub_is_read_by_id_and_by_path(
    cache: Path, where: str, expected: list[Any]
) -> None:
    assert values(where) == expected


def test_what_is_not_in_the_cache_is_one_clear_error(cache: Path) -> None:
    assert "HF_HUB_OFFLINE" in error_of("hf://datasets/some/other/x.jsonl").message
    assert "names no dataset" in error_of("hf://models/x").message
    assert "no such file" in error_of("hf://datasets/some/rows/nowhere/*.jsonl").message


def archive(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def test_the_files_of_a_zip_archive_are_read_like_those_of_a_folder(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    path = archive(tmp_path / "t.zip", {"data/rows.jsonl": lines, "README.md": "# About", "__MACOSX/x.jsonl": "x"})
    assert values(path) == values(f"{path}/data/rows.jsonl") == values(f"{path}/data/*.jsonl") == ROWS
    assert [record.place for record in read_records(str(path))][1] == f"{path}/data/rows.jsonl:2"
    error = error_of(f"{path}/data/row.jsonl")
    assert "no such file in the archive" in error.message and "data/rows.jsonl" in error.hint
    sheet = archive(tmp_path / "book.zip", {"xl/workbook.xml": "<x/>"})
    assert "an Excel workbook" in error_of(sheet).message
    (tmp_path / "broken.zip").write_bytes(path.read_bytes()[:60])
    assert "zip archive is damaged" in error_of(tmp_path / "broken.zip").message


def test_a_broken_quote_further_on_does_not_make_text_of_the_quotes_before_it(tmp_path: Path) -> None:
    """A TSV file whose first line is quoted stays quoted: its rows would else be read with their quotes, silently."""
    path = tmp_path / "t.tsv"
    path.write_bytes(b'"a"\t"b"\r\n"one"\t""\r\n"two\tthree"\r\n')
    good, broken = read_records(str(path), default_format="tsv")
    assert isinstance(good, Record) and good.value == {"a": "one", "b": ""}
    assert isinstance(broken, Rejected) and "1 fields where the header has 2" in broken.reason


def test_a_workbook_is_refused_with_a_line_that_makes_records_of_it(tmp_path: Path) -> None:
    """It was called a zip archive, to be unpacked or renamed."""
    for name, said in (("my sheet.xlsx", "a workbook"), ("letter.docx", "a document of an office program")):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("[Content_Types].xml", "<Types/>")
        assert f"this is {said}" in error_of(tmp_path / name).message
    hint = error_of(tmp_path / "my sheet.xlsx").hint
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as file:  # as pandas writes it, and without its name
        file.writestr("docProps/app.xml", "<Properties/>")
    assert "of an office program" in error_of(tmp_path / "a.bin").message
    assert f"read_excel('{tmp_path}/my sheet.xlsx').to_json('my sheet.jsonl', orient='records', lines=True)\"" in hint


def test_two_columns_of_texts_are_no_text_and_its_label(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("It is easy to use, and cheap.\tIt broke on the first day, and was dear.\n" * 3)
    assert error_of(tmp_path / "t.tsv").hint.endswith("--columns column_1,text")


def test_a_map_is_an_object(tmp_path: Path) -> None:
    """Spark writes messages so; pyarrow makes lists of pairs of them, which would be a question and its answer."""
    messages = [[("role", "user"), ("content", "Hi.")], [("role", "assistant"), ("content", "Hello.")]]
    kind = pa.list_(pa.map_(pa.string(), pa.string()))
    table = pa.table({"messages": pa.array([messages, None], type=kind), "n": [1, 2]})
    pq.write_table(table, tmp_path / "t.parquet")
    expected = [dict(message) for message in messages]
    assert [value.get("messages") for value in values(tmp_path / "t.parquet")] == [expected, None]
    assert next(dict(row)["messages"] for row in rows_in(table)) == expected


@pytest.mark.parametrize(("suffix", "program"), [(".gz", "gunzip"), (".zst", "unzstd"), (".bz2", "bunzip2")])
def test_a_packed_table_is_unpacked_by_the_line_of_the_hint(tmp_path: Path, suffix: str, program: str) -> None:
    path = tmp_path / f"my table.parquet{suffix}"
    path.write_bytes(b"\0" * 40)
    assert error_of(path).hint == f"unpack it: {program} '{path}'"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the shell that is not set: the folder that one is in would be read."""
    (tmp_path / "a.jsonl").write_text('{"prompt": "x"}\n')
    monkeypatch.chdir(tmp_path)
    assert "name of the input is empty" in error_of(name).message


def test_a_file_of_tensors_is_called_what_it_is(tmp_path: Path) -> None:
    """Unpacked or renamed, as the hint for zip archives said, there was nothing in it to be read."""
    torch.save([{"prompt": "x"}], tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", prompt=np.zeros(2))
    for name in ("a.pt", "a.npz"):
        error = error_of(tmp_path / name)
        assert "a file of tensors" in error.message and "zip" not in error.hint
