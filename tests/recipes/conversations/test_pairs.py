"""Preference pairs: told apart, read alike, and each bad record named by its field and reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import InputError, RecordError
from actkit.recipes.conversations.fields import FieldNames
from actkit.recipes.conversations.messages import ROLES, Message
from actkit.recipes.conversations.pair_records import pairs_in
from actkit.recipes.conversations.pairs import Pair, PairsSpec, detect, read_pair
from actkit.recipes.conversations.shapes import BY_NAME

FORMATS = ("chatml", "trl", "instruction", "hh", "sharegpt")


def parse(value: Any, form: str | None = None) -> Pair:
    return read_pair(value, PairsSpec(form))


def said(*messages: tuple[str, str]) -> tuple[Message, ...]:
    return tuple({"role": role, "content": content} for role, content in messages)


def chat(*messages: tuple[str, str]) -> list[Message]:
    return list(said(*messages))


def sharegpt(*messages: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": content} for role, content in messages]


USER, GOOD, POOR = ("user", "Name a fruit."), ("assistant", "A plum."), ("assistant", "An onion.")
SYSTEM, MORE = ("system", "Be brief."), (("user", "Hello"), ("assistant", "Hi"), USER)
HUMAN = "\n\nHuman: Name a fruit."
# name: format, record, messages before the answers, whether the texts are joined as they are
RECORDS: dict[str, tuple[str, dict[str, Any], tuple[tuple[str, str], ...], bool]] = {
    "chatml, one turn": ("chatml", {"chosen": chat(USER, GOOD), "rejected": chat(USER, POOR)}, (USER,), False),
    "chatml, many turns": ("chatml", {"chosen": chat(*MORE, GOOD), "rejected": chat(*MORE, POOR)}, MORE, False),
    "chatml, system": (
        "chatml",
        {"chosen": chat(SYSTEM, USER, GOOD), "rejected": chat(SYSTEM, USER, POOR), "score": 1},
        (SYSTEM, USER),
        False,
    ),
    "chatml, from and value": (
        "chatml",
        {"chosen": sharegpt(("human", USER[1]), ("gpt", GOOD[1])), "rejected": chat(USER, POOR)},
        (USER,),
        False,
    ),
    "trl, texts": ("trl", {"prompt": USER[1], "chosen": GOOD[1], "rejected": POOR[1]}, (USER,), True),
    "trl, messages": (
        "trl",
        {"prompt": chat(SYSTEM, USER), "chosen": chat(GOOD), "rejected": chat(POOR)},
        (SYSTEM, USER),
        False,
    ),
    "trl, prompt as text and answers as messages": (
        "trl",
        {"prompt": USER[1], "chosen": chat(GOOD), "rejected": chat(POOR)},
        (USER,),
        False,
    ),
    "trl, prompt as messages and answers as text": (
        "trl",
        {"prompt": chat(USER), "chosen": GOOD[1], "rejected": POOR[1]},
        (USER,),
        False,
    ),
    "trl, the prompt repeated in both conversations": (
        "trl",
        {"prompt": USER[1], "chosen": chat(SYSTEM, USER, GOOD), "rejected": chat(SYSTEM, USER, POOR)},
        (SYSTEM, USER),
        False,
    ),
    "instruction": (
        "instruction",
        {"instruction": USER[1], "input": "", "chosen": GOOD[1], "rejected": POOR[1]},
        (USER,),
        False,
    ),
    "instruction without the field input": (
        "instruction",
        {"instruction": USER[1], "chosen": GOOD[1], "rejected": POOR[1]},
        (USER,),
        False,
    ),
    "instruction, input and system": (
        "instruction",
        {"instruction": "Sort.", "input": "b, a", "system": SYSTEM[1], "chosen": GOOD[1], "rejected": POOR[1]},
        (SYSTEM, ("user", "Sort.\nb, a")),
        False,
    ),
    "hh": (
        "hh",
        {"chosen": f"{HUMAN}\n\nAssistant: A plum.", "rejected": f"{HUMAN}\n\nAssistant: An onion."},
        (USER,),
        False,
    ),
    "hh, many turns": (
        "hh",
        {
            "chosen": f"\n\nHuman: Hello\n\nAssistant: Hi{HUMAN}\n\nAssistant: A plum.",
            "rejected": f"\n\nHuman: Hello\n\nAssistant: Hi{HUMAN}\n\nAssistant: An onion.",
        },
        MORE,
        False,
    ),
    "sharegpt": (
        "sharegpt",
        {
            "conversations": sharegpt(("human", USER[1])),
            "chosen": {"from": "gpt", "value": GOOD[1]},
            "rejected": {"from": "gpt", "value": POOR[1]},
        },
        (USER,),
        False,
    ),
    "sharegpt, many turns, system, answers in lists": (
        "sharegpt",
        {
            "system": SYSTEM[1],
            "conversations": sharegpt(("human", "Hello"), ("gpt", "Hi"), ("human", USER[1])),
            "chosen": sharegpt(("gpt", GOOD[1])),
            "rejected": sharegpt(("gpt", POOR[1])),
        },
        (SYSTEM, *MORE),
        False,
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_each_format_is_detected_and_read(name: str) -> None:
    """All formats come to the same two conversations, each ending with its answer."""
    form, record, before, verbatim = RECORDS[name]
    assert detect(record) == form
    pair = parse(record)
    assert pair.chosen == said(*before, GOOD)
    assert pair.rejected == said(*before, POOR)
    assert pair.plain == ((USER[1], GOOD[1], POOR[1]) if verbatim else None)


def test_every_format_has_an_example_here() -> None:
    assert {form for form, *_ in RECORDS.values()} == set(FORMATS)


def test_the_demo_input_is_read_whole() -> None:
    lines = (Path(__file__).parents[2] / "data" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert {detect(record) for record in records} == {"instruction"}
    for record in records:
        pair = parse(record, "instruction")
        assert (pair.chosen[-1]["content"], pair.rejected[-1]["content"]) == (record["chosen"], record["rejected"])
        assert record["input"] in pair.chosen[0]["content"] and pair.chosen[:-1] == pair.rejected[:-1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [1, 2],
        7,
        {},
        {"chosen": "a"},
        {"rejected": "a", "prompt": "b"},
        {"text": "a", "label": 1},
        {"chosen": "no turns here", "rejected": "nor here"},
        {"chosen": 1, "rejected": 2},
    ],
)
def test_what_is_no_preference_pair_has_no_format(value: Any) -> None:
    assert detect(value) is None


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("user", "user"),
        ("User", "user"),
        ("human", "user"),
        ("prompter", "user"),
        ("system", "system"),
        ("tool", "tool"),
    ],
)
def test_names_of_roles_before_the_answer(name: str, role: str) -> None:
    pair = parse({"prompt": [{"role": name, "content": "x"}], "chosen": chat(GOOD), "rejected": chat(POOR)}, "trl")
    assert pair.chosen[0]["role"] == role


@pytest.mark.parametrize("name", ["assistant", "Assistant", "GPT", "gpt", "model", "bot", "chatbot"])
def test_names_of_the_assistant(name: str) -> None:
    pair = parse({"prompt": "x", "chosen": [{"role": name, "content": "y"}], "rejected": chat(POOR)}, "trl")
    assert pair.chosen[-1] == {"role": "assistant", "content": "y"}


def test_every_known_role_name_is_lower_case_since_names_are_compared_so() -> None:
    assert all(name == name.lower() for name in ROLES)


def test_hh_turns_begin_only_at_a_blank_line_and_keep_their_text() -> None:
    """`Human:` inside a line is text; nothing of a turn is trimmed, since the tokens would change."""
    said_by_user = 'Write "Human: hi"\nAssistant: no turn \n\nHumans: neither'
    record = {"chosen": f"\n\nHuman: {said_by_user}\n\nAssistant: ok ", "rejected": f"{HUMAN}\n\nAssistant:\nline"}
    pair = parse(record, "hh")
    assert pair.chosen == said(("user", said_by_user), ("assistant", "ok "))
    assert pair.rejected[-1] == {"role": "assistant", "content": "\nline"}


def test_hh_dialogues_may_begin_with_the_assistant() -> None:
    record = {"chosen": f"\n\nAssistant: Hi{HUMAN}\n\nAssistant: A plum.", "rejected": f"{HUMAN}\n\nAssistant: No."}
    assert [message["role"] for message in parse(record, "hh").chosen] == ["assistant", "user", "assistant"]


TRL: dict[str, Any] = {"prompt": "Name a fruit.", "chosen": "A plum.", "rejected": "An onion."}
HH = {"chosen": f"{HUMAN}\n\nAssistant: A plum.", "rejected": f"{HUMAN}\n\nAssistant: An onion."}
CHATML = {"chosen": chat(USER, GOOD), "rejected": chat(USER, POOR)}
SHARE = RECORDS["sharegpt"][1]
INSTRUCTION = RECORDS["instruction"][1]


@pytest.mark.parametrize(
    ("form", "value", "field", "reason"),
    [
        ("trl", None, None, "not an object but null"),
        ("trl", [TRL], None, "not an object but a list"),
        ("trl", "text", None, "not an object but text"),
        ("trl", 1.5, None, "not an object but a number"),
        ("trl", True, None, "not an object but true or false"),
        ("trl", {"prompt": "x", "rejected": "y"}, "chosen", "missing"),
        ("trl", {"prompt": "x", "chosen": "y"}, "rejected", "missing"),
        ("trl", {**TRL, "chosen": None}, "chosen", "empty"),
        ("trl", {**TRL, "rejected": ""}, "rejected", "empty"),
        ("trl", {**TRL, "rejected": []}, "rejected", "empty"),
        ("trl", {**TRL, "chosen": "  \n"}, "chosen", "the assistant's answer is empty"),
        ("trl", {**TRL, "prompt": " "}, "prompt", "empty"),
        ("trl", {**TRL, "prompt": []}, "prompt", "empty"),
        ("trl", {**TRL, "prompt": None}, "prompt", "empty"),
        ("trl", {**TRL, "chosen": 3}, "chosen", "not text or messages but a number"),
        ("trl", {**TRL, "rejected": {"a": 1}}, "rejected", "not text or messages but an object with a"),
        ("trl", {**TRL, "rejected": TRL["chosen"]}, "rejected", "chosen and rejected are equal"),
        ("trl", {"chosen": "a", "rejected": "b"}, "prompt", "missing"),
        ("chatml", {**CHATML, "chosen": "text"}, "chosen", "no prompt before the answer"),
        ("chatml", {**CHATML, "chosen": chat(USER)}, "chosen", "no assistant message"),
        (
            "chatml",
            {**CHATML, "rejected": chat(GOOD, USER)},
            "rejected",
            "ends with a user message, not the assistant's",
        ),
        ("chatml", {**CHATML, "rejected": chat(POOR)}, "rejected", "no prompt before the answer"),
        ("chatml", {**CHATML, "chosen": [USER[1], GOOD[1]]}, "chosen[0]", "no prompt before the answer"),
        (
            "chatml",
            {**CHATML, "chosen": [*chat(USER), {"role": "wizard", "content": "x"}]},
            "chosen[1].role",
            "unknown role 'wizard'",
        ),
        ("chatml", {**CHATML, "chosen": [{"content": "x"}, *chat(GOOD)]}, "chosen[0].role", "unknown role None"),
        ("chatml", {**CHATML, "chosen": [*chat(USER), {"role": "assistant"}]}, "chosen[1].content", "missing"),
        (
            "chatml",
            {**CHATML, "rejected": [*chat(USER), {"role": "assistant", "content": None}]},
            "rejected[1].content",
            "missing",
        ),
        (
            "chatml",
            {**CHATML, "rejected": [*chat(USER), {"role": "assistant", "content": [{"type": "text"}]}]},
            "rejected[1].content[0].text",
            "missing",
        ),
        (
            "chatml",
            {**CHATML, "rejected": chat(USER, ("assistant", ""))},
            "rejected",
            "the assistant's answer is empty",
        ),
        ("instruction", {**INSTRUCTION, "instruction": None}, "instruction", "empty"),
        ("instruction", {**INSTRUCTION, "instruction": 5}, "instruction", "not text or messages but a number"),
        ("instruction", {**INSTRUCTION, "input": ["x"]}, "input", "not text but a list"),
        ("instruction", {**INSTRUCTION, "rejected": GOOD[1]}, "rejected", "chosen and rejected are equal"),
        ("hh", {**HH, "chosen": f"Be kind.{HUMAN}\n\nAssistant: x"}, "chosen", "text before the first turn"),
        ("hh", {**HH, "rejected": "just text"}, "rejected", "no turn begins with Human: or Assistant:"),
        ("hh", {**HH, "rejected": f"{HUMAN}\n\nAssistant:"}, "rejected", "the assistant's answer is empty"),
        ("hh", {**HH, "rejected": f"{HUMAN}\n\nAssistant: "}, "rejected", "the assistant's answer is empty"),
        (
            "hh",
            {**HH, "rejected": f"{HUMAN}\n\nAssistant: x\n\nHuman: y"},
            "rejected",
            "ends with a user message, not the assistant's",
        ),
        ("hh", {**HH, "chosen": HUMAN}, "chosen", "no assistant message"),
        ("hh", {**HH, "chosen": 1}, "chosen", "not text or messages but a number"),
        ("sharegpt", {**SHARE, "conversations": None}, "conversations", "empty"),
        ("sharegpt", {**SHARE, "conversations": []}, "conversations", "empty"),
        ("sharegpt", {**SHARE, "chosen": {"from": "gpt", "value": ""}}, "chosen", "the assistant's answer is empty"),
        ("sharegpt", {**SHARE, "chosen": {"from": "elf", "value": "x"}}, "chosen[0].role", "unknown role 'elf'"),
        ("sharegpt", {**SHARE, "rejected": {"from": "human", "value": "x"}}, "rejected", "no assistant message"),
        ("sharegpt", {**SHARE, "system": 3}, "system", "not text but a number"),
    ],
)
def test_a_bad_record_is_rejected_with_the_field_at_fault_and_a_reason(
    form: Any, value: Any, field: str | None, reason: str
) -> None:
    with pytest.raises(RecordError) as caught:
        parse(value, form)
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_an_answer_of_several_messages_continues_the_prompt() -> None:
    """A user or system message at its head means that the prompt is repeated; one further on does not."""
    call, result = ("assistant", "calling"), ("tool", "42")
    pair = parse({"prompt": chat(USER), "chosen": chat(call, result, GOOD), "rejected": chat(POOR)}, "trl")
    assert pair.chosen == said(USER, call, result, GOOD)
    greeting = ("assistant", "Welcome.")
    pair = parse({"prompt": chat(greeting, USER), "chosen": chat(greeting, USER, GOOD), "rejected": chat(POOR)}, "trl")
    assert pair.chosen == said(greeting, USER, GOOD)
    assert pair.rejected == said(greeting, USER, POOR)


@pytest.mark.parametrize(
    ("prompt", "before"),
    [
        (chat(("user", "Hello"), ("assistant", "Hi")), (USER,)),
        (chat(("user", "Hello"), ("assistant", "Hi"), USER), (USER,)),
        (chat(SYSTEM, USER), (USER,)),
        ("Some other question?", (USER,)),
    ],
)
def test_a_prompt_that_an_answer_with_a_question_of_its_own_would_replace_is_not_lost(prompt: Any, before: Any) -> None:
    """What comes before such an answer cannot be known: it is no repetition of the prompt."""
    with pytest.raises(RecordError, match="not all of the prompt is in it") as caught:
        parse({"prompt": prompt, "chosen": chat(*before, GOOD), "rejected": chat(*before, POOR)}, "trl")
    assert caught.value.field == "chosen"


@pytest.mark.parametrize("prompt", [f"  {USER[1]} ", HUMAN + "\n\nAssistant:", chat(USER)])
def test_a_prompt_that_is_repeated_may_be_written_otherwise(prompt: Any) -> None:
    pair = parse({"prompt": prompt, "chosen": chat(SYSTEM, USER, GOOD), "rejected": chat(USER, POOR)}, "trl")
    assert (pair.chosen, pair.rejected) == (said(SYSTEM, USER, GOOD), said(USER, POOR))


@pytest.mark.parametrize("part", ["function_call", "reasoning_content", "thinking", "channel", "documents"])
def test_a_part_of_a_message_that_is_not_read_is_not_dropped_in_silence(part: str) -> None:
    call = {"role": "assistant", "content": "", part: [{"name": "search"}]}
    record = {"chosen": [*chat(USER), call, *chat(("tool", "42"), GOOD)], "rejected": chat(USER, POOR)}
    with pytest.raises(RecordError, match="would be lost") as caught:
        parse(record, "chatml")
    assert caught.value.field == f"chosen[1].{part}"
    for harmless in ({part: None}, {"channel": "final", "recipient": "all"}):
        pair = parse({**record, "chosen": [*chat(USER), {"role": "assistant", "content": "A", **harmless}]}, "chatml")
        assert pair.chosen == said(USER, ("assistant", "A"))


def test_an_empty_prompt_is_said_to_be_empty_and_not_to_be_missing() -> None:
    for record, field in (({"prompt": ""}, "prompt"), ({"instruction": " ", "input": ""}, "instruction")):
        with pytest.raises(RecordError, match="empty") as caught:
            parse({**record, "chosen": "A plum.", "rejected": "An onion."})
        assert caught.value.field == field
    with pytest.raises(RecordError, match="no prompt: chosen and rejected are texts without turns"):
        parse({"chosen": "A plum.", "rejected": "An onion."})


def test_calls_of_tools_are_left_to_the_chat_template() -> None:
    calls = [{"type": "function", "function": {"name": "search", "arguments": {"for": "a"}}}]
    theirs = [
        *chat(USER),
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "42", "tool_call_id": "1", "name": "search"},
    ]
    pair = parse({"chosen": [*theirs, *chat(GOOD)], "rejected": [*theirs, *chat(POOR)]}, "chatml")
    assert pair.chosen[1] == {"role": "assistant", "content": "", "tool_calls": calls}
    assert pair.chosen[2] == {"role": "tool", "content": "42", "tool_call_id": "1", "name": "search"}
    assert pair.chosen[:-1] == pair.rejected[:-1]


def test_who_of_several_people_speaks_is_left_to_the_chat_template() -> None:
    asked = [{"role": "user", "name": "Ada", "content": "Tea?"}, {"role": "user", "name": "Bo", "content": "Or not?"}]
    pair = parse({"chosen": [*asked, *chat(GOOD)], "rejected": [*asked, *chat(POOR)]}, "chatml")
    assert list(pair.chosen[:-1]) == asked


def test_messages_of_both_kinds_in_one_table_have_nulls_for_the_other_names() -> None:
    """Parquet gives every message all fields that any of them has."""
    theirs = [{"role": None, "content": None, "from": "human", "value": USER[1]}]
    record = {"chosen": [*theirs, *chat(GOOD)], "rejected": chat(USER, POOR)}
    assert parse(record, "chatml").chosen == said(USER, GOOD)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("broken", [None, 0, 1, True, "", "x", [], [None], [[]], {}, {"a": 1}, [{"role": "assistant"}]])
@pytest.mark.parametrize("field", ["chosen", "rejected", "prompt", "instruction", "input", "system", "conversations"])
def test_a_wrong_type_anywhere_is_a_record_error_and_nothing_else(form: Any, broken: Any, field: str) -> None:
    """One strange record of a million must not end the run."""
    record = next(record for name, record, *_ in RECORDS.values() if name == form)
    assert detect({**record, field: broken}) in (*BY_NAME, None)
    try:
        pair = parse({**record, field: broken}, form)
    except RecordError as error:
        assert error.reason
    else:
        assert all(isinstance(message["content"], str) for message in (*pair.chosen, *pair.rejected))


def test_what_is_said_of_a_huge_role_or_key_is_short(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as wrong:
        parse({"prompt": "x", "chosen": "y", "rejected": [{"role": "r" * 10_000, "content": "z"}]}, "trl")
    assert wrong.value.reason.startswith("unknown role 'rrr") and len(wrong.value.reason) < 100
    (tmp_path / "t.jsonl").write_text(json.dumps({"k" * 10_000: 1}))
    with pytest.raises(InputError) as none:
        pairs_in(str(tmp_path / "t.jsonl"), PairsSpec())
    assert "the first record has the fields kkk" in none.value.message and len(none.value.message) < 500


def test_an_answer_that_calls_a_tool_is_called_that_and_not_empty() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    with pytest.raises(RecordError, match="the answer calls a tool") as raised:
        parse({"prompt": chat(USER), "chosen": [call], "rejected": chat(POOR)})
    assert raised.value.field == "chosen"


@pytest.mark.parametrize(
    ("record", "field"), [({"chosen": "b"}, "rejected"), ({"chosen": "", "rejected": "c"}, "chosen")]
)
def test_of_a_shape_that_is_given_a_side_that_a_field_would_judge_may_be_missing(
    record: dict[str, Any], field: str
) -> None:
    spec = PairsSpec("question", FieldNames(preference="winner"))
    with pytest.raises(RecordError) as caught:
        read_pair({"question": "a", "winner": 1, **record}, spec)
    assert caught.value.field == field and str(caught.value) in ("missing", "empty")
