"""Context that a record carries under a name or in a form of its own is used, or named where it is not."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import FieldNames
from actkit.recipes.conversations.pairs import PairsSpec, read_pair
from actkit.recipes.conversations.prompts import of_text, read_prompt
from tests.command_line import Run

PAIR = {"prompt": "Name a fruit.", "chosen": "A plum.", "rejected": "An onion."}
SIDES = ("chosen", "rejected")
DIALOGUE = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Name a fruit.\n\nAssistant:"


@pytest.mark.parametrize(
    "name",
    [
        "System",
        "SYSTEM_PROMPT",
        "system prompt",
        "systemPrompt",
        "chatHistory",
        "contexts",
        "ctxs",
        "retrieved_contexts",
    ],
)
def test_a_name_in_another_spelling_is_no_way_to_lose_it(name: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_pair({**PAIR, name: "Talk like a pirate."}, PairsSpec())
    assert caught.value.field == name and f"--ignore-field {name}".replace("system prompt", "'system prompt'") in str(
        caught.value
    )
    left = read_pair({**PAIR, name: "Talk like a pirate."}, PairsSpec(names=FieldNames(ignore=(name,))))
    assert left.chosen[0]["role"] == "user"


def test_what_the_reason_says_reads_it() -> None:
    record = {**PAIR, "System": "Talk like a pirate."}
    with pytest.raises(RecordError, match="--system-field System reads it"):
        read_pair(record, PairsSpec())
    read = read_pair(record, PairsSpec(names=FieldNames(system="System")))
    assert read.chosen[0] == {"role": "system", "content": "Talk like a pirate."}
    assert read_pair({**PAIR, "sys_prompt": "Be brief."}, PairsSpec()).chosen[0]["content"] == "Be brief."


def test_a_spelling_of_what_is_read_is_no_context() -> None:
    """`Prompt` is the question where it was named so, and the same column twice says nothing new."""
    capitals = {name.title(): value for name, value in PAIR.items()}
    names = FieldNames("Prompt", "Chosen", "Rejected")
    assert read_pair(capitals, PairsSpec(names=names)).left == ()
    assert read_pair({**PAIR, "Question": PAIR["prompt"]}, PairsSpec()).shape == "trl"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_dialogue_has_the_line_ends_of_its_file(line_end: str) -> None:
    """Excel writes both characters into a cell: one message would be made of all the turns."""
    text = DIALOGUE.replace("\n", line_end)
    assert [turn["role"] for turn in of_text(text).messages] == ["user", "assistant", "user"]
    pair = read_pair({"chosen": text + " A plum.", "rejected": text + " An onion."}, PairsSpec())
    assert (
        pair.shape == "hh" and pair.chosen[-1]["content"] == "A plum." and pair.chosen[2]["content"] == "Name a fruit."
    )


TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_messages_of_a_file_are_no_prompts_of_their_own(tmp_path: Path, actkit: Run, form: str) -> None:
    """Each would be run alone, the system message too; the line of the hint makes the conversation of them."""
    path = tmp_path / f"chat.{form}"
    path.write_text(json.dumps(TURNS) if form == "json" else "".join(json.dumps(turn) + "\n" for turn in TURNS))
    done = actkit("capture", path, "--layers", 1, "-o", tmp_path / "run")
    assert done.status == 1 and "one message, of a conversation in other records" in done.err and "jq -cs" in done.err
    done = actkit("capture", path, "--layers", 1, "--ignore-field", "role", "-o", tmp_path / "run")
    assert done.status == 0
    done = actkit("feature-dataset", path, "-o", tmp_path / "corpus")
    assert done.status == 1 and "one message, of a conversation in other records" in done.err
    with pytest.raises(RecordError, match="one message"):
        read_prompt(TURNS[1], FieldNames("content"))
    assert read_prompt(TURNS[1], FieldNames("content", ignore=("role",))).plain == ("Hi.", None)
    peeked = actkit("peek", path).out
    assert "not capture" in peeked and "one message, of a conversation" in peeked and "\nactkit " not in peeked


@pytest.mark.parametrize("command", ["capture", "sae-extract", "feature-dataset"])
def test_a_line_may_be_a_conversation(tmp_path: Path, actkit: Run, command: str) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(TURNS) + "\n")
    more = ("--layers", 1) if command == "capture" else ()
    assert actkit(command, path, *more, "-o", tmp_path / "run").status == 0
    (text,) = pd.read_parquet(tmp_path / "run/sequences")["text"]
    assert "Be brief.<|end|><|user|>Hi.<|end|>" in text


def test_context_beside_statements_can_be_left_out(tmp_path: Path, actkit: Run) -> None:
    rows: list[dict[str, Any]] = [
        {"statement": f"City {n} is in country {n % 3}.", "label": n % 2, "context": "In 1990."} for n in range(16)
    ]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = actkit("concept", path, "--layers", 1, "-o", tmp_path / "run")
    assert done.status == 1 and "--ignore-field context leaves it out" in done.err
    done = actkit("concept", path, "--layers", 1, "--ignore-field", "context", "-o", tmp_path / "run")
    assert done.status == 0, done.err


SAID = {"role": "assistant", "content": "I would say"}


@pytest.mark.parametrize("answers", [(" a plum.", " an onion."), ([{"role": "assistant", "content": "x"}], "y")])
def test_an_answer_after_the_assistants_own_words_is_not_taken_for_another_turn(answers: tuple[Any, Any]) -> None:
    """A prefill: whether the answer goes on with it, no record says, and two turns are another conversation."""
    record = {"prompt": [TURNS[1], SAID], "chosen": answers[0], "rejected": answers[1]}
    with pytest.raises(RecordError, match="ends with the assistant's words"):
        read_pair(record, PairsSpec())
    whole = {
        "prompt": [TURNS[1], SAID],
        **{side: [TURNS[1], SAID, TURNS[1], {**SAID, "content": side}] for side in SIDES},
    }
    assert len(read_pair(whole, PairsSpec()).chosen) == 4
    opened = {**record, "prompt": [TURNS[1], {**SAID, "content": ""}]}
    assert [message["role"] for message in read_pair(opened, PairsSpec()).chosen] == ["user", "assistant"]


def test_a_message_that_is_to_be_gone_on_with_is_no_answer() -> None:
    with pytest.raises(RecordError, match="would be lost") as caught:
        read_prompt({"messages": [TURNS[1], {**SAID, "prefix": True}]}, FieldNames())
    assert caught.value.field == "messages[1].prefix"


NESTED = {"request": {"system": "Be brief.", "messages": [{"role": "user", "content": "Name a fruit."}]}}


@pytest.mark.parametrize(
    ("record", "names", "field"),
    [
        (NESTED, FieldNames("request.messages"), "request.system"),
        (
            {"input": {"chat_history": ["q", "a"], "question": "Why?"}},
            FieldNames("input.question"),
            "input.chat_history",
        ),
        ({"data": {"context": "A tower.", "question": "How tall?"}}, FieldNames("data.question"), "data.context"),
        ({"prompt": NESTED["request"]}, FieldNames(), "prompt.system"),
        (
            {"conversation": {"systemPrompt": "Be brief.", "messages": NESTED["request"]["messages"]}},
            FieldNames(),
            "conversation.systemPrompt",
        ),
    ],
)
def test_context_within_the_object_that_was_read_is_not_lost(record: Any, names: FieldNames, field: str) -> None:
    """It was looked for beside the outermost field alone: the question of a logged request ran without its system."""
    with pytest.raises(RecordError, match=f"--ignore-field {field} leaves it out") as caught:
        read_prompt(record, names)
    assert caught.value.field == field
    read_prompt(record, FieldNames(names.prompt, ignore=(field,)))


def test_context_within_an_object_is_read_where_it_is_named() -> None:
    found = read_prompt(NESTED, FieldNames("request.messages", system="request.system"))
    assert [message["role"] for message in found.messages] == ["system", "user"]
    again = {"request": {**NESTED["request"], "input": "Name a fruit."}}
    assert read_prompt(again, FieldNames("request.messages", system="request.system")).messages == found.messages


def test_context_within_a_pair_is_not_lost() -> None:
    asked = [{"role": "user", "content": "Name a fruit."}]
    sides = {"preferred_output": "A plum.", "non_preferred_output": "An onion."}
    with pytest.raises(RecordError) as caught:
        read_pair({"input": {"messages": asked, "system": "Be brief."}, **sides}, PairsSpec())
    assert caught.value.field == "input.system"
    told = {"documents": [{"text": "A"}], "enable_thinking": False}
    assert read_pair({**PAIR, "chat_template_kwargs": told}, PairsSpec()).template == told
