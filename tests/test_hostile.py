"""Hostile input through whole commands: each record once, nothing outside the run, no secret in it, no traceback."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from actkit.cli.app import main
from tests.fuzz.damage import NAUGHTY, fuzz, jsonl
from tests.fuzz.test_records import SHAPES, records

COMMANDS = {
    "capture": ("--layers", "1"),
    "dpo": ("--layers", "1"),
    "sae-extract": (),
    "feature-dataset": ("--context-size", "32"),
    "reward-detect": ("--draws", "100", "--positive", "good", "--negative", "bad"),
    "concept": ("--layers", "1"),
}
UDHR = [path.read_text("utf-8") for path in sorted((Path(__file__).parent / "data" / "udhr").glob("*.txt"))]
EXAMPLES = [pytest.param(3, id="some"), pytest.param(30, id="many", marks=pytest.mark.slow)]


def record_of(command: str, text: str, number: int, **names: str) -> dict[str, Any]:
    """A record of a command about a text."""
    made: dict[str, dict[str, Any]] = {
        "capture": {"prompt": text},
        "dpo": {"prompt": text, "chosen": f"{text} yes", "rejected": f"{text} no"},
        "sae-extract": {"prompt": text, "response": text[::-1]},
        "feature-dataset": {"text": text},
        "reward-detect": {"text": text, "label": ("good", "bad")[number % 2]},
        "concept": {"positive": f"{text} yes", "negative": f"{text} no"},
    }
    return {**made[command], **names}


def call(command: str, *arguments: str | Path) -> int:
    """The exit status of a command; an exception is a traceback, and fails the test."""
    with pytest.raises(SystemExit) as done:
        main([command, *map(str, arguments), "--device", "cpu", "-q"])
    return int(str(done.value.code))


def run(command: str, folder: Path, values: Sequence[Any]) -> Path:
    """A finished run over values, written as JSONL."""
    (folder / "in.jsonl").write_bytes(jsonl(values))
    out = folder / "run"
    assert call(command, folder / "in.jsonl", "-o", out, "--overwrite", *COMMANDS[command]) == 0
    return out


def check_once(out: Path, read: int) -> pd.DataFrame:
    """Every record of the input stands once in `sequences` or once in `rejected`, in order; returns the sequences."""
    sequences, rejected = (pd.read_parquet(out / name) for name in ("sequences", "rejected"))
    written = sequences["record_id"].unique()
    assert sorted([*written, *rejected["record_id"]]) == list(range(read))
    assert sequences["record_id"].is_monotonic_increasing and rejected["record_id"].is_monotonic_increasing
    assert sequences["sequence_id"].tolist() == list(range(len(sequences)))
    counts = json.loads((out / "run.json").read_text("utf-8"))["counts"]
    assert (counts["read"], counts["written"], counts["rejected"]) == (read, len(written), len(rejected))
    assert counts["truncated"] == sequences.loc[sequences["n_truncated"] > 0, "record_id"].nunique()
    assert rejected["reason"].str.len().between(1, 600).all()
    return sequences


def check_texts(command: str, sequences: pd.DataFrame, values: Sequence[Any]) -> None:
    """What was run is what the records say, character by character."""
    for record, rows in sequences.groupby("record_id"):
        value = values[int(str(record))]
        if command == "feature-dataset":
            text = (
                value if isinstance(value, str) else next(value[name] for name in ("text", "content") if name in value)
            )
            end = 0
            for row in rows.itertuples():  # a character whose tokens are in two chunks is in both texts
                assert row.char_offset in (end, end - 1) and row.text == text[row.char_offset :][: len(row.text)]
                end = row.char_offset + len(row.text)
            assert end == len(text)
        elif command == "capture" and isinstance(value, str):
            assert rows["text"].tolist() == [value]
        elif command in ("capture", "sae-extract") and "prompt" in value and isinstance(value["prompt"], str):
            response = value.get("response") or ""
            assert rows["text"].tolist() == [value["prompt"] + (response if response.strip() else "")]
        elif command == "dpo" and isinstance(value.get("chosen"), str) and "prompt" in value:
            for row in rows[rows["side"] != "shared"].itertuples():
                assert value[row.side] in row.text and value["prompt"].strip() in row.text


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_record_is_written_or_rejected_once_and_says_what_it_said(
    tmp_path: Path, command: str, examples: int
) -> None:
    good = [record_of(command, f"Number {number} is a number.", number) for number in range(12)]

    def check(lists: tuple[list[Any], list[Any]]) -> None:
        values = [*lists[0], *good, *lists[1]]
        sequences = check_once(run(command, tmp_path, values), len(values))
        if command != "sae-extract" or all(isinstance(value, dict) for value in values):
            check_texts(command, sequences, values)

    # A document of results, or statements that are paired, are several records, or one, to a line.
    plain = records(SHAPES[command][command == "dpo" :][:1]).filter(
        lambda all_of: not any(_is_document(document) for document in all_of)
    )
    fuzz(examples, st.tuples(plain, plain), check)


def _is_document(value: Any) -> bool:
    return isinstance(value, dict) and "results" in value


@pytest.mark.quick(2)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("step", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_naughty_strings_and_six_scripts_go_through(tmp_path: Path, command: str, step: int) -> None:
    texts = [*NAUGHTY[::step], *(text[: 3000 // step + 100] for text in UDHR)]
    values = [record_of(command, text, number) for number, text in enumerate(texts)]
    sequences = check_once(run(command, tmp_path, values), len(values))
    check_texts(command, sequences, values)
    rejected = pd.read_parquet(tmp_path / "run" / "rejected")
    for row in rejected.itertuples():
        assert not texts[row.record_id].strip() or "longer than" in row.reason, row


LEAVING = ["../x", "../../x", "/tmp/actkit-must-not-be", "~", "~/x", "a\0b", "x" * 5000, "..", ".", "a/../../b", "\n"]


def around(folder: Path) -> set[str]:
    """Everything in a folder, and in the folder that it is in."""
    return {str(path) for path in (*folder.rglob("*"), *folder.parent.iterdir())}


@pytest.mark.quick(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_names_in_records_that_look_like_paths_write_nothing_outside_the_run(tmp_path: Path, command: str) -> None:
    (tmp_path / "sub").mkdir()
    names = ("id", "question_id", "template_type", "template", "stem", "group", "source", "name", "text_id")
    values = [
        record_of(command, f"Text {number} of {len(LEAVING)}.", number, **dict.fromkeys(names, name))
        for number, name in enumerate(LEAVING)
    ]
    before = around(tmp_path)
    out = run(command, tmp_path / "sub", values)
    new = {path for path in around(tmp_path) - before if not path.startswith(f"{out}/")}
    assert new == {str(out), str(tmp_path / "sub" / "in.jsonl")}
    sequences = check_once(out, len(values))
    if command == "sae-extract":
        named = [name if name.strip() else None for name in LEAVING]  # a name of nothing but a line break is none
        for column in ("group", "label"):
            assert sequences[column].astype(object).where(sequences[column].notna(), None).tolist() == named
    assert not Path("/tmp/actkit-must-not-be").exists()


OPTIONS = {
    "capture": (
        "--model",
        "--hook-point",
        "--layers",
        "--field",
        "--positions",
        "--sae-release",
        "--sae-id",
    ),
    "dpo": ("--model", "--hook-point", "--input-format"),
    "sae-extract": ("--model", "--sae-release", "--sae-id", "--sae", "--hook-name", "--prompt-field"),
    "feature-dataset": ("--text-field", "--sae"),
    "reward-detect": ("--text-field", "--label-field", "--sae-release"),
    "concept": ("--model", "--hook-point"),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("command", "option"), [(name, option) for name, options in OPTIONS.items() for option in options]
)
def test_options_that_look_like_paths_are_errors_that_write_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl([record_of(command, f"Text {index}.", index) for index in range(4)]))
    before = around(tmp_path)
    for name in LEAVING:
        assert call(command, tmp_path / "in.jsonl", "-o", tmp_path / "run", option, name) in (1, 2), name
        assert "error: " in capfd.readouterr().err
        assert around(tmp_path) == before, name


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", LEAVING)
def test_a_concept_that_looks_like_a_path_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    before = around(tmp_path / "sub")
    assert call("concept", name, "-o", "run", "--layers", "1") in (1, 2)
    assert around(tmp_path / "sub") == before


@pytest.mark.slow
def test_a_corpus_does_not_read_the_run_that_is_written_inside_it(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"Story {number}.")
    for name in ("first", "second", "first"):
        assert call("feature-dataset", tmp_path, "-o", tmp_path / "runs" / name, "--overwrite") == 0
        sequences = check_once(tmp_path / "runs" / name, 3)
        assert [Path(sequence).name for sequence in sequences["source"]] == ["0.txt", "1.txt", "2.txt"]


SECRETS = {
    "HF_TOKEN": "hf_ThisMustNotBeWritten0000000000001",
    "HUGGING_FACE_HUB_TOKEN": "hf_ThisMustNotBeWritten0000000000002",
    "HUGGINGFACE_HUB_TOKEN": "hf_ThisMustNotBeWritten0000000000003",
    "OPENAI_API_KEY": "sk-ThisMustNotBeWritten4",
    "ANTHROPIC_API_KEY": "sk-ant-ThisMustNotBeWritten5",
    "AWS_SECRET_ACCESS_KEY": "ThisMustNotBeWritten6",
    "WANDB_API_KEY": "ThisMustNotBeWritten7",
    "HTTPS_PROXY": "http://me:ThisMustNotBeWritten8@127.0.0.1:9",
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_secret_of_the_environment_is_in_any_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    out = run(command, tmp_path, [record_of(command, f"Text {index} of twelve.", index) for index in range(12)])
    assert call(command, tmp_path / "missing.jsonl", "-o", tmp_path / "x") == 1
    said = "".join(capfd.readouterr())
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".parquet":  # pages are compressed
            table = pq.read_table(path)
            texts = [name for name in table.column_names if "string" in str(table.schema.field(name).type)]
            data += repr((table.schema.metadata, table.select(texts).to_pylist())).encode()
        assert b"ThisMustNot" not in data, path
    assert "ThisMustNot" not in said


ADDRESS = "https://me:ThisMustNotBeWritten@huggingface.co/some/thing"


@pytest.mark.quick(4)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", [None, "--model", "--sae-release", "--sae"])
def test_a_token_in_an_address_is_not_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, option: str | None
) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl([record_of(command, "One.", 0)]))
    path = ADDRESS if option is None else tmp_path / "in.jsonl"
    more = () if option is None else (option, ADDRESS)
    assert call(command, path, "-o", tmp_path / "run", *more) in (1, 2)
    said = "".join(capfd.readouterr())
    assert "error: " in said and "ThisMustNot" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_half_characters_are_rejected_where_they_are_text_and_written_out_where_they_are_names(tmp_path: Path) -> None:
    half = "\ud800"
    (tmp_path / "chat").mkdir()
    chat = [
        [{"role": "user", "content": "Hello"}],
        [{"role": half, "content": "Hello"}],
        [{"role": "user", "content": half}],
    ]
    out = run("capture", tmp_path / "chat", [{"messages": messages} for messages in chat])
    assert check_once(out, 3)["record_id"].tolist() == [0]
    assert set(pd.read_parquet(out / "rejected")["reason"]) == {
        "the text holds half a character (a lone surrogate)",
        "unknown role '\\ud800'",
    }
    out = run("sae-extract", tmp_path, [{"prompt": "Hello", "question_id": half, "template_type": half}])
    assert check_once(out, 1)[["group", "label"]].to_numpy().tolist() == [["\\ud800", "\\ud800"]]


@pytest.mark.parametrize("option", ["input", "-o", "--prompt"])
def test_an_argument_that_is_no_text_is_an_error_that_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    name = os.fsdecode(bytes([255]))
    (tmp_path / f"{name}.txt").write_text("One.")
    (tmp_path / "in.txt").write_text("One.")
    given = tmp_path / (f"{name}.txt" if option == "input" else "in.txt")
    more = {"input": ("-o", tmp_path / "run"), "-o": ("-o", tmp_path / name), "--prompt": ("--prompt", name)}[option]
    before = around(tmp_path)
    assert call("capture", given, *more, "--layers", "1") == 1
    assert "not valid UTF-8" in capfd.readouterr().err
    assert around(tmp_path) == before
