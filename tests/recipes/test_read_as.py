"""What a run reads its input as where nothing was said, and what it says of an SAE that read too little."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import Run


@pytest.mark.slow
def test_statements_are_plain_text_unless_chat_is_asked_for(tmp_path: Path, actkit: Run) -> None:
    """As a user's message, whether a sentence is true shows in it less clearly."""
    lines = [{"statement": f"The city of X{n} is in country {n % 2}.", "label": n % 2} for n in range(12)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for more, chat in (((), False), (("--chat",), True)):
        out = tmp_path / str(chat)
        assert actkit("concept", tmp_path / "in.jsonl", "--layers", 1, "-o", out, *more).status == 0
        assert json.loads((out / "run.json").read_text())["detected"]["chat"] is chat
        assert any("<|user|>" in text for text in pd.read_parquet(out / "sequences")["text"]) is chat
    assert actkit("concept", "honesty", "--max-samples", 8, "--layers", 1, "-o", tmp_path / "own").status == 0
    assert json.loads((tmp_path / "own/run.json").read_text())["detected"]["chat"] is True


def test_health_over_one_token_a_text_says_so(tmp_path: Path, actkit: Run) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "What is it?", "response": " A plum."}\n' * 3)
    for more, says in (((), True), (("--save-all-tokens",), False)):
        done = actkit("sae-extract", tmp_path / "in.jsonl", "-o", tmp_path / str(says), *more)
        assert done.status == 0 and ("of one token a text" in done.err) is says


def test_a_gguf_file_is_named_for_what_it_is(tmp_path: Path, actkit: Run) -> None:
    """It is no id of the hub; the lines that convert it name the file."""
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    there = actkit("capture", "-p", "x", "--model", tmp_path / "small.gguf", "-o", tmp_path / "run")
    assert there.status == 1 and "a GGUF file" in there.err and "gguf_file='small.gguf'" in there.err
    gone = actkit("capture", "-p", "x", "--model", "org/gone.gguf", "-o", tmp_path / "run")
    assert gone.status == 1 and "org/gone.gguf: no such file" in gone.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["capture", "dpo", "concept", "sae-extract", "reward-detect"])
def test_files_of_a_folder_that_are_left_are_named(tmp_path: Path, actkit: Run, command: str) -> None:
    """Texts beside tables of records may be a README, or prompts that somebody misses; so may other splits."""
    pairs = [{"prompt": f"Is it {n}?", "chosen": f"Yes, {n}.", "rejected": f"No, not {n}."} for n in range(12)]
    own = [{"prompt": pair["prompt"], "positive": pair["chosen"], "negative": pair["rejected"]} for pair in pairs]
    folder = tmp_path / "d"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in (own if command == "concept" else pairs))
    for name in ("train.jsonl", "test.jsonl"):
        (folder / name).write_text(lines)
    (folder / "more.txt").write_text("One more?\n")
    more = ("--layers", 1) if command in ("capture", "dpo", "concept") else ()
    done = actkit(command, folder, *more, "-o", tmp_path / "run")
    assert done.status == 0 and "files left: more.txt, test.jsonl" in done.err, done.err
    done = actkit(command, folder / "train.jsonl", *more, "-o", tmp_path / "alone")
    assert done.status == 0 and "files left" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["capture", "feature-dataset"])
def test_a_split_that_chooses_nothing_is_said_to(tmp_path: Path, actkit: Run, command: str) -> None:
    """The rows of `train.jsonl` were read for those of the test split, without a word."""
    folder = tmp_path / "d"
    folder.mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        (folder / name).write_text('{"text": "A fox."}\n')
    for where, said in ((folder / "train.jsonl", True), (folder / "test.jsonl", False), (folder, False)):
        done = actkit(command, where, "--split", "test", "-o", tmp_path / f"run-{where.stem}")
        assert done.status == 0 and ("--split test is without effect" in done.err) is said, done.err
    assert "without effect" not in actkit(command, folder / "train.jsonl", "-o", tmp_path / "plain").err
