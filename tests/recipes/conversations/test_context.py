"""What stands before an answer is used by every reader, or its record is rejected with the field's name."""

import json
from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.contrasts import parse_contrast
from actkit.recipes.conversations.context import Context, read_context, whole_beside
from actkit.recipes.conversations.fields import FieldNames, Fields, lookup
from actkit.recipes.conversations.messages import parse_messages, text_or_messages
from actkit.recipes.conversations.pairs import PairsSpec, read_pair
from actkit.recipes.conversations.prompts import Conversation, read_answered, read_prompt

Q, A = "Name a fruit.", "A plum."
PAIR = {"chosen": A, "rejected": "An onion."}
USER, BOT = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def of_pair(record: dict[str, Any], names: FieldNames) -> tuple[Any, Any]:
    pair = read_pair({**record, **PAIR}, PairsSpec(names=names))
    return pair.chosen[:-1], pair.template


def of_prompt(record: dict[str, Any], names: FieldNames) -> tuple[Any, Any]:
    found = read_prompt(record, names)
    return found.messages, found.template


def of_answer(record: dict[str, Any], names: FieldNames) -> tuple[Any, Any]:
    found = read_answered({**record, "response": A}, names)
    return found.messages[:-1], found.template


def of_contrast(record: dict[str, Any], names: FieldNames) -> tuple[Any, Any]:
    found = parse_contrast({**record, "positive": A, "negative": "An onion."}, names)
    return found.positive.messages[:-1], found.positive.template


READERS = {"pair": of_pair, "prompt": of_prompt, "answer": of_answer, "contrast": of_contrast}
every_reader = pytest.mark.parametrize("reader", READERS)


@every_reader
@pytest.mark.parametrize("name", ["prompt", "instruction", "question", "query", "input", "context"])
def test_the_question_under_any_of_its_names(reader: str, name: str) -> None:
    assert READERS[reader]({name: Q, "id": 1}, FieldNames()) == ((USER,), {})


@every_reader
@pytest.mark.parametrize(
    ("record", "before"),
    [
        ({"system": "Be brief."}, "system: Be brief."),
        ({"system_prompt": "Be brief."}, "system: Be brief."),
        ({"history": [["Hi.", "Hello."]]}, "user: Hi. / assistant: Hello."),
        (
            {"history": [{"role": "human", "content": "Hi."}, {"from": "gpt", "value": "Hello."}]},
            "user: Hi. / assistant: Hello.",
        ),
        ({"history": "\n\nHuman: Hi.\n\nAssistant: Hello."}, "user: Hi. / assistant: Hello."),
        ({"history": [["Hi.", "Hello."]], "system": "Be brief."}, "system: Be brief. / user: Hi. / assistant: Hello."),
        (
            {"dialogue_history": [["Hi.", "Hello."]], "preamble": "Be brief."},
            "system: Be brief. / user: Hi. / assistant: Hello.",
        ),
        ({"history": [], "system": "", "tools": None, "input": ""}, ""),
    ],
)
def test_system_and_history_stand_before_the_question(reader: str, record: dict[str, Any], before: str) -> None:
    messages, _ = READERS[reader]({**record, "prompt": Q}, FieldNames())
    written = " / ".join(f"{message['role']}: {message['content']}" for message in messages)
    assert written == (f"{before} / user: {Q}" if before else f"user: {Q}")


@every_reader
@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_tools_and_options_go_to_the_template(reader: str, tools: Any) -> None:
    record = {"prompt": [USER], "tools": tools, "chat_template_kwargs": {"enable_thinking": False}}
    assert READERS[reader](record, FieldNames()) == ((USER,), {"tools": [TOOL], "enable_thinking": False})
    inside = {"input": {"messages": [USER], "tools": [TOOL]}}
    assert READERS[reader](inside, FieldNames()) == ((USER,), {"tools": [TOOL]})


@every_reader
def test_what_is_below_an_instruction_is_joined(reader: str) -> None:
    for record in ({"instruction": "Sort.", "input": "b, a"}, {"instruction": "Sort.", "context": "b, a"}):
        assert READERS[reader](record, FieldNames())[0] == ({"role": "user", "content": "Sort.\nb, a"},)


@every_reader
@pytest.mark.parametrize(
    "field",
    [
        "instruction",
        "question",
        "query",
        "context",
        "messages",
        "conversations",
        "documents",
        "images",
        "system_message",
        "persona",
        "scenario",
        "retrieved_context",
        "image_url",
        "article",
        "paragraph",
        "premise",
        "document",
        "personas",
        "instructions",
    ],
)
def test_context_that_is_not_read_rejects_its_record_unless_it_is_meant(reader: str, field: str) -> None:
    value = [{"role": "user", "content": "Another one?"}] if field in ("messages", "conversations") else "Another one?"
    record = {"prompt": Q, "system": "Be brief.", field: value}
    with pytest.raises(
        RecordError, match=f"{field} carries context that would be lost.*--ignore-field {field}"
    ) as raised:
        READERS[reader](record, FieldNames())
    assert raised.value.field == field
    messages, _ = READERS[reader](record, FieldNames(ignore=(field,)))
    assert [message["content"] for message in messages] == ["Be brief.", Q]


@every_reader
def test_a_repetition_is_no_loss(reader: str) -> None:
    record = {"prompt": Q, "question": f" {Q}\n", "messages": [USER, BOT], "conversation": [{"input": Q, "output": A}]}
    assert READERS[reader](
        record if reader != "prompt" else {**record, "messages": [USER], "conversation": None}, FieldNames()
    )[0] == (USER,)


def test_another_answer_at_the_end_of_messages_stands_before_nothing() -> None:
    """argilla/distilabel-capybara-dpo-7k-binarized: neither of the two that are compared need be the original one."""
    both = {"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "An onion."}]}
    turns = [{"input": Q, "output": "Quite another one."}]
    assert read_pair({"prompt": Q, "conversation": turns, **both}, PairsSpec()).chosen == (USER, BOT)
    with pytest.raises(RecordError, match="conversation carries context"):
        read_pair({"prompt": Q, "conversation": [{"input": "Hi.", "output": "Hello."}, *turns], **both}, PairsSpec())


@every_reader
def test_a_short_text_inside_a_word_is_no_repetition(reader: str) -> None:
    with pytest.raises(RecordError, match="query carries context"):
        READERS[reader]({"prompt": Q, "query": "a"}, FieldNames())


@every_reader
def test_messages_before_a_question_that_is_their_last_one(reader: str) -> None:
    earlier = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    messages, _ = READERS[reader]({"prompt": Q, "messages": [*earlier, USER]}, FieldNames())
    assert messages == (*earlier, USER)


@every_reader
@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ({"prompt": Q, "history": "Hi. Hello."}, "history", "who speaks is not known"),
        ({"prompt": [{"role": "system", "content": "x"}, USER], "system": "y"}, "system", "another system message"),
        ({"prompt": Q, "system": 3}, "system", "not text but a number"),
        ({"prompt": Q, "tools": "look_up"}, "tools", "no JSON"),
        ({"prompt": Q, "tools": ["look_up"]}, "tools", "not a list of tools"),
        (
            {"prompt": Q, "chat_template_kwargs": {"tokenize": True}},
            "chat_template_kwargs",
            "options of a chat template",
        ),
        ({"prompt": "[{'role': 'user', 'content': 'Hi.'}]"}, "prompt", "a Python list that was printed"),
        (
            {"prompt": "[{'content': \"It's\", 'role': 'user'}\n {'content': 'x', 'role': 'assistant'}]"},
            "prompt",
            "printed",
        ),
        ({"prompt": '[{"role": "user", "content": "Hi'}, "prompt", "no whole JSON"),
        ({"prompt": b"bytes"}, "prompt", "not text or messages but bytes"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "prompt[0].content[0]",
            "image_url",
        ),
        (
            {"prompt": [{"role": "user", "parts": [{"text": "What is it?"}, {"inlineData": {"data": "x"}}]}]},
            "prompt[0].content[1]",
            "no text but 'inlineData'",
        ),
        (
            {"prompt": [{"role": "model", "parts": [{"text": "Let me see.", "thought": True}, {"text": "A"}]}, USER]},
            "prompt[0].content[0].thought",
            "would be lost",
        ),
    ],
)
def test_what_cannot_be_used_is_named(reader: str, record: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as raised:
        READERS[reader](record, FieldNames())
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: So?\n\nAssistant:", ["Hi.", "Hello.", "So?"]),
        ("Human: Hi.\n\nAssistant: Hello.\n\nHuman: So?\n\nAssistant: ", ["Hi.", "Hello.", "So?"]),
        ("### Human: Hi.### Assistant: Hello.### Human: So?", ["Hi.", "Hello.", "So?"]),
        ("Summarize:\n\nHuman: Hi.\n\nAssistant: Hello.", None),
        ("Human: is that a title?", None),
        ("What does \n\nHuman: mean?", None),
    ],
)
def test_a_dialogue_is_split_into_turns_and_a_text_about_one_is_not(text: str, turns: list[str] | None) -> None:
    found = read_prompt({"prompt": text}, FieldNames())
    assert [message["content"] for message in found.messages] == (turns or [text])
    assert found.plain == (text, None)  # without a template it is run as it is


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        (
            [
                {"role": "Developer", "content": "x"},
                {"role": "Human", "content": "x"},
                {"role": "ChatGPT", "content": "x"},
            ],
            "sua",
        ),
        ([{"from": "system", "value": "x"}, {"from": "prompter", "value": "x"}, {"from": "bot", "value": "x"}], "sua"),
        (
            [
                {"from": "human", "value": "x"},
                {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                {"from": "observation", "value": "x"},
            ],
            "uat",
        ),
        ({"role": ["user", "model"], "content": ["x", "x"]}, "ua"),
        ({"from": ["human", "gpt"], "value": ["x", "x"], "weight": None}, "ua"),
        ([["x", "x"], ["x", None]], "uau"),
        ([{"human": "x", "assistant": "x"}], "ua"),
        ('[{"role": "user", "content": "x"}]', "u"),
        ('{"role": ["user"], "content": ["x"]}', "u"),
        ({"messages": [{"speaker": "USER", "text": "x"}]}, "u"),
    ],
)
def test_messages_in_all_their_forms(value: Any, roles: str) -> None:
    found = text_or_messages(value, "f")
    assert not isinstance(found, str) and "".join(message["role"][0] for message in found) == roles
    assert parse_messages(found, "f") == found


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '[{"name": "x"}]', "[1, 2]", "{'a': 1}", "[1, 2", '{"role": "admin"}', "['a']"]
)
def test_json_that_is_no_messages_is_an_answer(text: str) -> None:
    assert text_or_messages(text, "f") == text


def test_the_prompt_of_a_pair_is_what_both_conversations_begin_with() -> None:
    hi = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    pair = {"chosen": [*hi, USER, BOT], "rejected": [*hi, USER, {"role": "assistant", "content": "An onion."}]}
    found = read_prompt({**pair, "prompt": Q, "id": 1}, FieldNames(), "response")
    assert found.messages == (*hi, USER) and found.plain is None and found.left == ("id",)
    alone = read_prompt({"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "No."}]}, FieldNames())
    assert alone.plain == (Q, None)  # one question is run as a text is
    tied = {"prompt": Q, "response_a": "x", "response_b": "y", "winner": "tie"}
    assert read_prompt(tied, FieldNames()).plain == (Q, None)  # what is wrong with the answers is not the prompt's
    assert read_prompt(
        {"info": {"post": Q}, "summaries": [{"text": "x"}, {"text": "y"}], "choice": 0}, FieldNames()
    ).plain == (Q, None)


def test_a_field_that_makes_turns_of_a_text_is_named() -> None:
    assert read_prompt({"prompt": Q, "system": "x"}, FieldNames()).turns_of == "system"
    assert read_prompt({"prompt": Q, "tools": [TOOL]}, FieldNames()).turns_of == "tools"
    assert read_prompt({"prompt": [USER], "system": "x"}, FieldNames()).turns_of is None
    assert read_prompt({"prompt": Q, "system": "x"}, FieldNames(ignore=("system",))).plain == (Q, None)


def test_a_system_message_of_the_command_line_and_one_of_the_record() -> None:
    found = read_prompt({"prompt": Q, "system": "x"}, FieldNames())
    assert found.under("x") == found
    with pytest.raises(RecordError, match="another system message than --system"):
        found.under("y")
    assert [message["role"] for message in Conversation((USER,), (Q, None)).under("x").messages] == ["system", "user"]


def test_answers_with_what_they_answer() -> None:
    kto = {"prompt": [USER], "completion": [BOT], "label": True}
    assert read_answered(kto, FieldNames()).messages == (USER, BOT)
    sharegpt = {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}], "kto_tag": True}
    assert read_answered(sharegpt, FieldNames()).messages == (USER, BOT)
    alpaca = {"instruction": "Name a", "input": "fruit.", "output": A, "kto_tag": True}
    assert read_answered(alpaca, FieldNames()).plain == ("Name a\nfruit.", A)
    assert read_answered({"text": A, "label": 1}, FieldNames()).plain == (None, A)
    assert read_answered({"comment": A, "question": Q}, FieldNames(), "comment").plain == (Q, A)


RENDERINGS: tuple[tuple[dict[str, Any], tuple[dict[str, str], ...]], ...] = (
    ({"instruction": Q, "input": "", "output": A, "text": f"### Instruction:\n{Q}\n\n### Response:\n{A}"}, (USER, BOT)),
    ({"messages": [USER, BOT], "text": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n{A}"}, (USER, BOT)),
    ({"prompt": Q, "response": A, "text": f"{Q} {A}"}, (USER, BOT)),
)


@pytest.mark.parametrize(("record", "messages"), RENDERINGS)
def test_a_text_that_writes_out_the_records_own_question_and_answer_is_neither(
    record: dict[str, Any], messages: tuple[dict[str, str], ...]
) -> None:
    """It would be a question with its answer in it, or an answer that has the question in it once more."""
    found = read_answered({**record, "label": 1}, FieldNames())
    assert (found.messages, found.left) == (messages, ("label",))
    asked = read_prompt(record, FieldNames(), "output")
    assert asked.messages[:1] == messages[:1] and "text" not in asked.left
    assert read_prompt(record, FieldNames(prompt="text", ignore=("messages", "instruction"))).plain is not None


def test_a_text_that_says_something_else_is_read() -> None:
    assert read_answered({"prompt": Q, "text": A}, FieldNames()).messages == (USER, BOT)
    assert read_answered({"question": Q, "text": f"{Q} {A}"}, FieldNames()).messages[-1]["content"] == f"{Q} {A}"


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b", 1), ("c.0.d", 2), ("c.-1.d", 3), ("e.f", 4), ("e.f.g", None), ("h.i", 5), ("c.2.d", None), ("x", None)],
)
def test_dotted_paths(path: str, found: Any) -> None:
    value = {"a": {"b": 1}, "c": [{"d": 2}, {"d": 3}], "e.f": 4, "h": '{"i": 5}'}
    assert lookup(value, path) == found


def test_what_was_read_and_what_was_left() -> None:
    fields = Fields({"a": {"b": 1, "c": 2}, "d": None, "e": [], "f": 0, "g": float("nan")})
    fields.take("a.b")
    assert (list(fields.read), fields.left) == (["a.b"], ["f"])


@pytest.mark.parametrize("text", ["null", "[]", "{}", " null "])
def test_json_of_nothing_is_a_text_where_texts_stand_and_nothing_where_lists_do(text: str) -> None:
    answered = read_answered({"prompt": text, "response": text, "history": text, "tools": text}, FieldNames())
    assert [message["content"] for message in answered.messages] == [text, text]
    pair = read_pair({"prompt": text, "chosen": text, "rejected": "An onion."}, PairsSpec(names=FieldNames()))
    assert pair.chosen[-1]["content"] == text and pair.chosen[0]["content"] == text


MORE = ({"role": "user", "content": "Another."}, {"role": "assistant", "content": "A pear."})


@pytest.mark.parametrize(
    ("record", "read"),
    [
        ({"prompt": Q, "prompt_id": "1", "messages": [USER, BOT, *MORE]}, (USER, BOT, *MORE)),  # ultrachat_200k
        ({"input": Q, "messages": [{"role": "system", "content": "Be brief."}, USER, BOT]}, None),  # Inspect's logs
        ({"prompt": [USER], "messages": [USER, BOT]}, (USER, BOT)),
        ({"prompt": Q, "messages": json.dumps([USER, BOT])}, (USER, BOT)),
        ({"prompt": Q, "messages": [USER, BOT, *MORE], "response": "A pear."}, (USER, BOT, *MORE)),
        ({"prompt": Q, "messages": [USER, BOT, MORE[0]], "response": "A pear."}, (USER, BOT, *MORE)),
        ({"prompt": Q, "messages": [USER, BOT], "response": "A fig."}, (USER, {**BOT, "content": "A fig."})),
        ({"prompt": "Another.", "messages": [USER, BOT, MORE[0]], "response": "A pear."}, (USER, BOT, *MORE)),
        ({"prompt": Q, "messages": [USER, USER, BOT]}, (USER, USER, BOT)),
    ],
)
def test_a_conversation_beside_its_own_prompt_is_read_to_its_end(record: dict[str, Any], read: Any) -> None:
    found = read_prompt(record, FieldNames(), "response")
    assert found.messages == (read or tuple(record["messages"])) and "messages" in found.read
    alone = read_prompt({"messages": list(found.messages)}, FieldNames(), "response")
    assert found.messages == alone.messages and found.answered
    assert found.plain == (None if len(found.messages) > 2 or "response" not in record else (Q, "A fig."))


def test_a_prompt_that_is_named_is_read_alone() -> None:
    """With what stands before it, and without what comes after: that was not asked for."""
    later = {"prompt": MORE[0]["content"], "messages": [USER, BOT, *MORE]}
    assert read_prompt(later, FieldNames("prompt")).messages == (USER, BOT, MORE[0])
    first = read_prompt({"prompt": Q, "messages": [USER, BOT]}, FieldNames("prompt"))
    assert (first.messages, first.plain) == ((USER,), (Q, None))


def test_instructions_that_messages_repeat_without_their_input_keep_the_input() -> None:
    record = {"instruction": "Sum up.", "input": "A long text.", "messages": [{"role": "user", "content": "Sum up."}]}
    assert read_prompt(record, FieldNames()).messages == ({"role": "user", "content": "Sum up.\nA long text."},)


def test_speakers_that_are_a_messages_type() -> None:
    said = [{"type": "system", "content": "Be brief."}, {"type": "human", "content": Q}, {"type": "ai", "content": A}]
    read = ({"role": "system", "content": "Be brief."}, USER, BOT)
    assert parse_messages(said, "messages") == read
    assert parse_messages([{"type": message["type"], "data": message} for message in said], "messages") == read
    assert text_or_messages(json.dumps(said), "messages") == read
    calls = [{"name": "look_up", "args": {"word": "plum"}, "id": "c1", "type": "tool_call"}]
    (called,) = parse_messages([{"type": "ai", "content": "", "tool_calls": calls}], "messages")
    assert called["tool_calls"][0]["function"] == {"name": "look_up", "arguments": {"word": "plum"}}


def test_an_answer_of_blocks_is_their_text() -> None:
    blocks = [{"type": "text", "text": "A "}, {"type": "text", "text": "plum."}]
    assert text_or_messages(blocks, "response.content") == A
    found = read_prompt({"prompt": Q, "response": {"content": blocks}}, FieldNames(), "response.content")
    assert found.messages == (USER, BOT)
    with pytest.raises(RecordError, match="a part that is no text but 'thinking'"):
        text_or_messages([{"type": "thinking", "thinking": "Hm."}, *blocks], "response.content")
    with pytest.raises(RecordError, match="a part that is no text but 'tool_use'"):
        text_or_messages([{"type": "tool_use", "name": "look_up", "input": {}}], "response.content")


ASKED = (USER, BOT, {"role": "user", "content": "Another."})


@pytest.mark.parametrize(
    ("answer", "messages", "asked", "read"),
    [
        (None, ASKED, 1, 3),  # ends with a question
        (None, (*ASKED, BOT), 1, 4),  # no field has the answer: all of it
        ("answer", (*ASKED, BOT), 1, 3),  # all but the answer, which the field repeats
        ("answer", (USER, {**BOT, "content": f" {A} "}), 1, 1),
        ("answer", (USER, {**BOT, "content": "A pear."}), 1, 1),  # another answer: no further than the prompt
    ],
)
def test_how_far_a_conversation_beside_its_prompt_is_read(
    answer: str | None, messages: tuple[dict[str, str], ...], asked: int, read: int
) -> None:
    until = whole_beside(Fields({"answer": A}, FieldNames()), answer)
    assert until is not None and until(messages, asked) == read
    assert whole_beside(Fields({"answer": A}, FieldNames(prompt="prompt")), answer) is None


def test_a_context_says_what_it_was_made_of() -> None:
    def read(**record: Any) -> Context:
        return read_context(Fields(record, FieldNames()))

    assert read(prompt=Q) == Context((USER,), plain=Q)
    assert read(prompt=Q, system="Be brief.") == Context((USER,), "Be brief.", turns_of="system")
    assert read(prompt=Q, initial_reason_steps="First,").begun == "First,"
    assert read(prompt="Human: Hi.\n\nAssistant:").after_colon and not read(prompt="Human: Hi.").after_colon
    assert read(text="x") == Context(), "nothing asked: empty, and no error"
    with pytest.raises(RecordError, match="another system message") as error:
        read(messages=[{"role": "system", "content": "Be long."}, USER], system="Be brief.")
    assert error.value.field == "system"
