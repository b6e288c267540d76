"""Chat templates of many shapes: where each content stands, by token ids, or a reason why it cannot be said."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import actkit.bundled
from actkit.cli.app import main
from actkit.errors import RecordError
from actkit.pipeline.tokens.chat import encode_chat
from actkit.recipes.prompt_response import encode_messages
from tests.conftest import small_tokenizer

FOLDER = Path(__file__).parents[2] / "data" / "chat_templates"
BUNDLED = Path(actkit.bundled.__file__).parent
CANNOT = ("leaves_system_out", "upper_case")
SHAPES = sorted(path.stem for path in FOLDER.glob("*.jinja") if path.stem not in CANNOT)
TRIMMING = {
    "headers_with_bos": {"user", "assistant"},
    "turns_without_system": {"user", "assistant"},
    "trims": {"user", "assistant"},
    "last_turn_differs": {"assistant"},
}
ADDS_BOS = {
    "headers_with_bos",
    "turns_without_system",
    "system_in_first_question",
    "system_in_last_question",
    "full_width",
    "eos_between_turns",
    "default_system_and_date",
}
USER, ANSWER = ["Qzero wonders", "Qone → asks"], ["Azero täuscht", "Aone 🙂 ends"]
SYSTEM = {"role": "system", "content": "Szero rules"}
TURNS = [
    {"role": role, "content": text}
    for pair in zip(USER, ANSWER, strict=True)
    for role, text in zip(("user", "assistant"), pair, strict=True)
]

every_shape = pytest.mark.parametrize("shape", SHAPES)


def tokenizer_of(shape: str) -> Any:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = (FOLDER / f"{shape}.jinja").read_text(encoding="utf-8")
    return tokenizer


def ids_of(text: str) -> list[int]:
    """One token a byte: the ids of a text are its bytes' ids wherever it stands."""
    return list(small_tokenizer(adds_bos=False)(text, add_special_tokens=False)["input_ids"])


def places(ids: list[int], part: list[int]) -> list[int]:
    return [at for at in range(len(ids) - len(part) + 1) if ids[at : at + len(part)] == part]


def test_there_are_at_least_twelve_shapes() -> None:
    assert len(SHAPES) >= 12


@every_shape
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("n_messages", [1, 2, 3, 4])
def test_each_turn_is_where_its_ids_stand_in_what_the_model_reads(shape: str, system: bool, n_messages: int) -> None:
    tokenizer = tokenizer_of(shape)
    messages = [SYSTEM, *TURNS[:n_messages]] if system else TURNS[:n_messages]
    prompt = n_messages % 2 == 1
    if system and shape == "turns_without_system":
        with pytest.raises(RecordError, match="no system role.*first user message"):
            encode_chat(tokenizer, messages, prompt)
        return
    encoding, spans = encode_chat(tokenizer, messages, prompt)
    ids = encoding.token_ids.tolist()
    assert ids == list(
        tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=True, return_dict=False)
    )
    expected: list[str] = ["template"] * len(ids)
    for message, span in zip(messages, spans, strict=True):
        part = ids_of(message["content"])
        (at,) = places(ids, part)
        expected[at : at + len(part)] = [message["role"]] * len(part)
        assert encoding.text[slice(*span)] == message["content"]
    assert list(encoding.role) == expected
    assert (np.array(ids) == tokenizer.bos_token_id).sum() == (shape in ADDS_BOS)


@every_shape
def test_the_response_is_the_last_answer_and_begins_where_generation_would(shape: str) -> None:
    tokenizer = tokenizer_of(shape)
    asked, whole = (encode_messages(tokenizer, TURNS[:n], chat=True) for n in (3, 4))
    assert asked.response is None and whole.response is not None
    first, last = whole.response
    assert whole.encoding.token_ids[first:last].tolist() == ids_of(ANSWER[1])
    assert not whole.boundary_merged
    # The prompt alone, which asks for an answer, is the beginning of the whole; a thought or channel may come after it.
    assert whole.encoding.token_ids[: asked.response_start].tolist() == asked.encoding.token_ids.tolist()
    assert first >= asked.response_start


def of_both(rendered: list[str]) -> list[str]:
    """Without those by which it is told whether a template reads texts or parts."""
    return [messages for messages in rendered if "assistant" in messages]


def test_placeholders_of_the_same_roles_are_rendered_once_and_a_changed_template_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = tokenizer_of(SHAPES[0])
    rendered: list[str] = []
    own = tokenizer.apply_chat_template
    monkeypatch.setattr(
        tokenizer, "apply_chat_template", lambda messages, **how: rendered.append(str(messages)) or own(messages, **how)
    )
    for number in range(3):
        messages = [{**TURNS[0], "content": f"question {number}"}, {**TURNS[1], "content": f"answer {number}"}]
        encoding, spans = encode_chat(tokenizer, messages, False)
        assert [encoding.text[first:last] for first, last in spans] == [f"question {number}", f"answer {number}"]
    assert len(of_both(rendered)) == 4
    tokenizer.chat_template = f"<s>{tokenizer.chat_template}"
    encode_chat(tokenizer, messages, False)
    assert len(of_both(rendered)) == 6


@every_shape
@pytest.mark.parametrize("answer", [" \n spaced", "trailing \n", "\nboth "])
def test_white_space_around_an_answer_is_read_as_the_model_sees_it(shape: str, answer: str) -> None:
    trims = "assistant" in TRIMMING.get(shape, ())
    messages = [TURNS[0], {"role": "assistant", "content": answer}]
    seen = answer.strip() if trims else answer.lstrip("\n") if shape == "thoughts" else answer
    found = encode_messages(tokenizer_of(shape), messages, chat=True)
    assert found.response is not None
    first, last = found.response
    assert found.encoding.token_ids[first:last].tolist() == ids_of(seen)


@every_shape
def test_contents_that_are_the_templates_own_words_are_told_apart(shape: str) -> None:
    messages = [{"role": "user", "content": "assistant"}, {"role": "assistant", "content": "user"}]
    encoding, spans = encode_chat(tokenizer_of(shape), messages, False)
    other = [{"role": "user", "content": "QUESTIONS"}, {"role": "assistant", "content": "TOLD"}]
    assert encode_chat(tokenizer_of(shape), other, False)[1] == spans
    assert [encoding.text[slice(*span)] for span in spans] == ["assistant", "user"]


@every_shape
def test_an_empty_answer_has_no_token(shape: str) -> None:
    found = encode_messages(tokenizer_of(shape), [TURNS[0], {"role": "assistant", "content": ""}], chat=True)
    assert found.response is not None and found.response[0] == found.response[1]
    assert "assistant" not in found.encoding.role


@pytest.mark.parametrize(
    ("shape", "messages", "reason"),
    [
        ("leaves_system_out", [{"role": "system", "content": "user"}, *TURNS[:2]], "changes the system message"),
        ("upper_case", TURNS[:2], "changes the user message"),
        (
            "thoughts",
            [TURNS[0], {"role": "assistant", "content": "<think>x</think><think>x</think>y"}],
            "changes the assistant message",
        ),
        (
            "thoughts",
            [TURNS[0], {"role": "assistant", "content": "said <think>x</think>y"}],
            "changes the assistant message",
        ),
    ],
)
def test_where_a_content_stands_is_never_guessed(shape: str, messages: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        encode_chat(tokenizer_of(shape), messages, False)


def test_an_answer_with_its_thought_as_the_template_writes_it_is_found_whole() -> None:
    answer = "<think>\nx\n</think>\n\ny"
    found = encode_messages(tokenizer_of("thoughts"), [TURNS[0], {"role": "assistant", "content": answer}], chat=True)
    assert found.response is not None
    assert found.encoding.token_ids[slice(*found.response)].tolist() == ids_of(answer)


THOUGHT = [TURNS[0], {"role": "assistant", "content": "<think>hm, x</think>y, then"}]
KEEPS_THOUGHTS = [shape for shape in SHAPES if shape != "thoughts"]


def test_a_thought_that_the_template_sets_anew_is_part_of_the_answer() -> None:
    found = encode_messages(tokenizer_of("thoughts"), THOUGHT, chat=True)
    assert found.response is not None
    assert found.encoding.token_ids[slice(*found.response)].tolist() == ids_of("<think>\nhm, x\n</think>\n\ny, then")


@pytest.mark.parametrize("thought", ["<think>\nhm, x\n</think>\n\n", "hm, x</think>", "<think></think>"])
def test_of_an_earlier_answer_whose_thought_is_left_out_the_rest_is_found(thought: str) -> None:
    messages = [TURNS[0], {"role": "assistant", "content": f"{thought}y, then"}, *TURNS[2:]]
    encoding, spans = encode_chat(tokenizer_of("thoughts"), messages, False)
    assert [encoding.text[slice(*span)] for span in spans] == [TURNS[0]["content"], "y, then", USER[1], ANSWER[1]]
    assert "hm, x" not in encoding.text


@pytest.mark.parametrize("shape", KEEPS_THOUGHTS)
@pytest.mark.parametrize(
    "content", ["<think>\nhm, x\n</think>\n\ny", "hm, x</think>y", "<think></think>y", "<think>hm</think>"]
)
def test_a_thought_that_is_no_case_of_its_own_to_the_template_is_content_like_any(shape: str, content: str) -> None:
    messages = [TURNS[0], {"role": "assistant", "content": content}, *TURNS[2:]]
    encoding, spans = encode_chat(tokenizer_of(shape), messages, False)
    assert [encoding.text[slice(*span)] for span in spans] == [TURNS[0]["content"], content, USER[1], ANSWER[1]]


CALLS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ '\n' if m.content and m.tool_calls else '' }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}{% endfor %}"
)
CALLING = [
    TURNS[0],
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"type": "function", "function": {"name": "search", "arguments": {"for": "Qzero wonders"}}}],
    },
    {"role": "tool", "content": "found 42"},
    TURNS[1],
]


@pytest.mark.parametrize("said", ["I look.", ""])
def test_what_a_template_writes_of_a_tools_call_is_its_own_and_contents_are_where_they_stand(said: str) -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CALLS
    messages = [CALLING[0], {**CALLING[1], "content": said}, *CALLING[2:]]
    found = encode_messages(tokenizer, messages, chat=True)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert found.encoding.text == text and '<call>{"name": "search"' in text
    expected: list[str] = ["template"] * len(found.encoding)
    for message in messages:
        at = text.index(f"<|{message['role']}|>{message['content']}") + len(f"<|{message['role']}|>")
        at = text.rindex(message["content"]) if message is messages[-1] else at
        first, n = len(ids_of(text[:at])), len(ids_of(message["content"]))
        expected[first : first + n] = [message["role"]] * n
    assert list(found.encoding.role) == expected
    assert found.response is not None
    assert found.encoding.token_ids[slice(*found.response)].tolist() == ids_of(TURNS[1]["content"])


def test_a_call_that_the_template_leaves_out_is_not_lost_in_silence() -> None:
    with pytest.raises(RecordError, match="leaves this call out") as caught:
        encode_chat(tokenizer_of("chatml"), CALLING, False)
    assert caught.value.field == "messages[1].tool_calls"


@pytest.mark.parametrize("calls", [5, "search", {"name": "search"}, [5], [{"function": 5}], [{"name": ["search"]}]])
def test_calls_of_no_known_form_are_a_bad_record(calls: Any) -> None:
    with pytest.raises(RecordError, match="not a list of calls|leaves this call out"):
        encode_chat(tokenizer_of("chatml"), [TURNS[0], {**TURNS[1], "tool_calls": calls}], False)


def test_an_answer_that_calls_a_tool_is_not_read_for_its_text_alone() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CALLS
    with pytest.raises(RecordError, match="the answer calls a tool"):
        encode_messages(tokenizer, CALLING[:2], chat=True)
    with pytest.raises(RecordError, match="need a chat template"):
        encode_messages(tokenizer, CALLING, chat=False)


def saved_model(shape: str, folder: Path) -> Path:
    """The bundled model on disk, with another template."""
    path = folder / "model"
    shutil.copytree(BUNDLED / "tiny", path)
    shutil.copy(FOLDER / f"{shape}.jinja", path / "chat_template.jinja")
    return path


def run_of(arguments: list[str], out: Path) -> Path:
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--device", "cpu", "--quiet", "--out", str(out)])
    assert done.value.code == 0
    return out


def first_token(tokenizer: Any, text: str, part: str) -> tuple[int, bool]:
    """By the tokenizer's own offsets: the first token with characters of `part`, and whether it begins before it."""
    assert text.count(part) == 1
    at = text.index(part)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    index = next(index for index, (_, end) in enumerate(offsets) if end > at)
    return index, offsets[index][0] < at


@pytest.mark.slow
@every_shape
def test_the_recipes_write_the_same_boundary_and_the_text_that_the_model_read(shape: str, tmp_path: Path) -> None:
    import transformers

    path = saved_model(shape, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    trims = "assistant" in TRIMMING.get(shape, ())
    answers = [" Aone speaks ", "Atwo replies"]
    prompt = TURNS[:3]
    (tmp_path / "pairs.jsonl").write_text(
        json.dumps({"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}) + "\n", encoding="utf-8"
    )
    (tmp_path / "answers.jsonl").write_text(
        "".join(
            json.dumps({"messages": [*prompt, {"role": "assistant", "content": answer}]}) + "\n" for answer in answers
        ),
        encoding="utf-8",
    )
    model = ["--model", str(path), "--max-length", "512"]
    sae = ["--sae", str(BUNDLED / "saes" / "blocks.2.hook_resid_post")]
    pairs = run_of(["dpo", str(tmp_path / "pairs.jsonl"), "--chat", "--layers", "1", *model], tmp_path / "pairs")
    extracted = run_of(["sae-extract", str(tmp_path / "answers.jsonl"), "--chat", *model, *sae], tmp_path / "extracted")
    sides = pd.read_parquet(pairs / "sequences").set_index("side")
    rows = pd.read_parquet(extracted / "sequences")
    for index, (side, answer) in enumerate(zip(("chosen", "rejected"), answers, strict=True)):
        messages = [*prompt, {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        expected = first_token(tokenizer, text, answer.strip() if trims else answer)
        for row in (sides.loc[side], rows.iloc[index]):
            assert row["text"] == text
            assert (int(row["response_start"]), bool(row["boundary_merged"])) == expected


def test_the_run_rejects_a_system_message_that_the_template_does_not_take(tmp_path: Path) -> None:
    path = saved_model("turns_without_system", tmp_path)
    pairs = [{"prompt": [*head, TURNS[0]], "chosen": "Aone", "rejected": "Atwo"} for head in ([SYSTEM], [])]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(pair) for pair in pairs), encoding="utf-8")
    out = run_of(["dpo", str(tmp_path / "pairs.jsonl"), "--model", str(path), "--layers", "1"], tmp_path / "run")
    rejected = pd.read_parquet(out / "rejected")
    assert len(rejected) == 1
    assert "no system role" in rejected["reason"][0] and "first user message" in rejected["reason"][0]
    assert len(pd.read_parquet(out / "pairs")) == 1
