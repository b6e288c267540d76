"""What a run says of its input: shapes, fields read and left; context that would be lost is refused by name."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.command_line import Run

SYSTEM, Q = "Be brief.", "Name a fruit."
PAIR = {"chosen": "A plum.", "rejected": "An onion."}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *records: Any) -> None:
    Path(name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def texts(run: str) -> list[str]:
    return pd.read_parquet(f"{run}/sequences")["text"].tolist()


def test_a_file_of_many_shapes_says_which_fields_it_read_and_left(actkit: Run) -> None:
    turns = {side: f"\n\nHuman: {Q}\n\nAssistant: {text}" for side, text in PAIR.items()}
    ranked = {"prompt": Q, "answers": [{"answer": text, "rank": rank} for rank, text in enumerate(("a", "b", "c"))]}
    write(
        "p.jsonl", {"system": SYSTEM, "question": Q, **PAIR, "id": 1}, turns, ranked, {"prompt": Q, **PAIR, "tools": []}
    )
    found = actkit("dpo", "p.jsonl", "-o", "run", "-l", "0", "--positions", "divergence", "--pairs", "all")
    assert found.status == 0, found.err
    facts = json.loads(Path("run/run.json").read_text())
    assert facts["input"]["shapes"] == {"question": 1, "hh": 1, "ranked": 3, "trl": 1}
    assert facts["input"]["fields_read"]["system"] == 1 and facts["input"]["fields_left"] == {"id": 1}
    assert "shapes: ranked (3), " in found.err and "fields left: id (1)" in found.err
    assert "<|bos|><|system|>Be brief.<|end|><|user|>Name a fruit.<|end|><|assistant|>A plum.<|end|>" in texts("run")
    assert facts["counts"]["read"] == facts["counts"]["written"] == 6


def test_a_system_message_is_never_dropped_without_a_word(actkit: Run) -> None:
    write("p.jsonl", {"system": SYSTEM, "prompt": Q})
    refused = actkit("capture", "p.jsonl", "-o", "run", "-l", "0")
    assert refused.status == 1 and "system stands in a chat template only: --chat" in refused.err
    ignored = actkit("capture", "p.jsonl", "-o", "plain", "-l", "0", "--ignore-field", "system")
    assert ignored.status == 0 and texts("plain") == [Q]
    assert "fields read: prompt\n" in ignored.err and "fields left: system\n" in ignored.err
    assert actkit("capture", "p.jsonl", "-o", "chat", "-l", "0", "--chat").status == 0
    assert texts("chat") == ["<|bos|><|system|>Be brief.<|end|><|user|>Name a fruit.<|end|><|assistant|>"]
    assert actkit("capture", "--config", "plain/config.yaml", "-o", "again").status == 0
    assert texts("again") == texts("plain")


def test_tools_that_the_template_does_not_write_are_refused_by_name(actkit: Run) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    write("p.jsonl", {"prompt": Q, **PAIR, "tools": [tool]})
    refused = actkit("dpo", "p.jsonl", "-o", "run", "-l", "0")
    assert refused.status == 1 and "leaves the tool look_up out; --ignore-field tools" in refused.err
    assert actkit("dpo", "p.jsonl", "-o", "run", "-l", "0", "--ignore-field", "tools").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--input-format", "shpp"], 2, "--input-format shpp: no such shape"),
        (["--first-is-better", "1"], 2, "--first-is-better without --preference-field"),
        (["--chosen-field", "choosen"], 1, "no record has a field choosen"),
        (["--chosen-field", "choosen"], 1, "did you mean chosen?"),
        (["--input-format", "hh"], 1, "no turn begins with Human: or Assistant:"),
    ],
)
def test_options_that_name_nothing(arguments: list[str], status: int, says: str, actkit: Run) -> None:
    write("p.jsonl", {"prompt": Q, **PAIR})
    found = actkit("dpo", "p.jsonl", "-o", "run", "-l", "0", *arguments)
    assert found.status == status and says in found.err


@pytest.mark.parametrize("named", ["said.ok", "answers.0.said.ok", "answers[0].said.ok"])
def test_the_score_of_each_answer_in_a_list_is_named_by_its_own_path_or_as_errors_list_it(
    named: str, actkit: Run
) -> None:
    """It is no field of the record, and was said to be none."""
    answers = [{"text": text, "said": {"ok": score}} for text, score in (("An onion.", 1), ("A plum.", 2))]
    write("p.jsonl", {"prompt": Q, "answers": answers})
    unnamed = actkit("dpo", "p.jsonl", "-o", "run", "-l", "0")
    assert unnamed.status == 1 and "hint: --preference-field said.ok ranks answers by that number" in unnamed.err
    found = actkit("dpo", "p.jsonl", "-o", "run", "-l", "0", "--preference-field", named)
    assert found.status == 0 and "A plum." in texts("run")[1], found.err
    refused = actkit("dpo", "p.jsonl", "-o", "again", "-l", "0", "--preference-field", "said.okay")
    assert refused.status == 1 and "answers.0.said.ok" in refused.err


def test_a_printed_list_is_no_answer(actkit: Run) -> None:
    messages = [{"role": "user", "content": Q}, {"role": "assistant", "content": "A plum."}]
    frame = pd.DataFrame(
        [{"prompt": Q, "chosen": messages, "rejected": [messages[0], {**messages[1], "content": "No."}]}]
    )
    frame.to_csv("p.csv", index=False)
    refused = actkit("dpo", "p.csv", "-o", "run", "-l", "0")
    assert refused.status == 1 and "a Python list that was printed" in refused.err and "to_json" in refused.err
    frame.to_json("p.jsonl", orient="records", lines=True)
    assert actkit("dpo", "p.jsonl", "-o", "run", "-l", "0").status == 0


@pytest.mark.slow
def test_chats_are_documents_too(actkit: Run) -> None:
    chat = {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": "A plum."}], "system": SYSTEM}
    write(
        "c.jsonl",
        chat,
        {"text": "A plain document."},
        {"instruction": "Name a", "input": "fruit.", "output": "A plum."},
    )
    found = actkit("feature-dataset", "c.jsonl", "-o", "run", "--context-size", "8", "--layer", "1")
    assert found.status == 0, found.err
    sequences = pd.read_parquet("run/sequences")
    whole = "".join(sequences[sequences["record_id"] == 0]["text"])
    assert whole == "<|system|>Be brief.<|end|><|user|>Name a fruit.<|end|><|assistant|>A plum.<|end|>"
    assert set(pd.read_parquet("run/tokens")["role"].dropna()) == {"system", "user", "assistant", "template"}
    assert json.loads(Path("run/run.json").read_text())["input"]["shapes"] == {
        "messages": 1,
        "text": 1,
        "output + instruction + input": 1,
    }
    alpaca = "".join(sequences[sequences["record_id"] == 2]["text"])
    assert alpaca == "<|user|>Name a\nfruit.<|end|><|assistant|>A plum.<|end|>"
    assert actkit("verify", "run", "--recompute", "2").status == 0
