"""What a run reads its input as where nothing was said, and what it says of an SAE that read too little."""

import json
from pathlib import Path

import pandas as pd

from tests.command_line import Run


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
