"""Read the prompt of a record of any known shape, and the answer, if the record has one.

The prompt of a preference pair is the common beginning of both conversations.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from actkit.errors import RecordError
from actkit.pipeline.input.field_names import WHAT, WHO
from actkit.recipes.conversations.answers import Answer
from actkit.recipes.conversations.context import Context, read_context, whole_beside
from actkit.recipes.conversations.dialogues import is_dialogue, open_turns
from actkit.recipes.conversations.fields import FieldNames, Fields, is_empty, object_of
from actkit.recipes.conversations.messages import Message, is_turn, parse_messages, text_or_messages
from actkit.recipes.conversations.names import HISTORY, MESSAGES, PROMPT, QUESTION, SYSTEM
from actkit.recipes.conversations.pairs import PairsSpec, read_pair, shape_or_none, with_answer
from actkit.recipes.conversations.trees import check_alone, is_row
from actkit.recipes.conversations.unread import check_unused

PROMPTS = ("prompt", "text", "question", "instruction", "query", "input", "content", "context")
"""Fields of a prompt, in the order in which they are looked for; without any, `messages` and the like are."""
ANSWERS = ("text", "response", "answer", "completion", "output", "comment", "content")
"""Fields of a labelled text, in this order likewise."""
RENDERED = "text"
"""A field of both that some data sets have in addition, with prompt and answer in it."""


@dataclass(frozen=True)
class Conversation:
    """A prompt with its context, and the answer to it."""

    messages: tuple[Message, ...]
    """All messages; the last one is the assistant's if there is an answer."""
    plain: tuple[str | None, str | None] | None = None
    """Prompt and answer, if they were given as texts; each is None where there is none."""
    turns_of: str | None = None
    """The field (system, history, tools) because of which a prompt that is text needs turns."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the chat template besides the messages."""
    shape: str = ""
    read: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """The record's fields that were read, and those that were not."""

    @property
    def said(self) -> dict[str, tuple[str, ...]]:
        """The facts of this record that a run counts."""
        return {"shapes": (self.shape,), "fields_read": self.read, "fields_left": self.left}

    @property
    def answered(self) -> bool:
        """Whether it ends with an answer."""
        return bool(self.messages) and self.messages[-1]["role"] == "assistant"

    def under(self, system: str | None) -> "Conversation":
        """Return the conversation with this system message. Raises RecordError where it has another one."""
        if system is None:
            return self
        first = self.messages[0] if self.messages else None
        if first is not None and first["role"] == "system":
            if str(first["content"]).strip() != system.strip():
                raise RecordError("system", "another system message than --system gives")
            return self
        return replace(self, messages=({"role": "system", "content": system}, *self.messages), plain=None)


def of_text(text: str) -> Conversation:
    """Make a conversation of a line of text, which is a prompt. Raises RecordError for an empty line."""
    if not text.strip():
        raise RecordError(None, "empty")
    turns = open_turns(text, "prompt") if is_dialogue(text) else [{"role": "user", "content": text}]
    return Conversation(tuple(turns), (text, None), shape="text")


def read_prompt(value: Any, names: FieldNames, response: str | None = None) -> Conversation:
    """Read the prompt of one record, and its answer, from the field `response` or the end of its messages.

    Raises RecordError, with the field, for a prompt that is missing, empty or neither text nor messages, and for
    context that would be lost.
    """
    if isinstance(value, str):
        return of_text(value)
    fields = Fields(object_of(value), names)
    check_alone(fields.value, names.ignore)
    _leave_rendering(fields, response)
    shape, found = _of_pair(fields) if names.prompt is None else ("", None)
    if found is None:
        path = names.prompt or fields.first([name for name in PROMPTS if name not in fields.repeated])
        check_whole(fields, path)
        path = path or fields.messages()
        if path is None:
            empty = next((name for name in (*PROMPTS, *MESSAGES) if name in fields.value), None)
            raise RecordError(empty, "empty" if empty else f"no field {' or '.join((*PROMPTS[:5], *MESSAGES[:2]))}")
        found = read_context(fields, path, until=whole_beside(fields, response))
    answer = None
    if response is not None and response not in fields.read and fields.has(response):
        answer = text_or_messages(fields.take(response), response)
    return _joined(fields, found, answer, response, shape)


def check_whole(fields: Fields, path: str | None) -> None:
    """Raise RecordError for a single message of a conversation, which would be run as a prompt without its speaker."""
    speaker = fields.first(WHO)
    of_message = path in (*WHAT, *WHO) and is_turn(fields.value) and not is_row(fields.value)
    if speaker is not None and of_message:
        raise RecordError(
            speaker, f"one message, of a conversation in other records; --ignore-field {speaker} does without them"
        )


def read_answered(value: Any, names: FieldNames, text: str | None = None) -> Conversation:
    """Read one labelled answer with its prompt, or a labelled text alone.

    `text` is its field; None looks for `ANSWERS`, then for messages that end with the answer. Raises RecordError as
    `read_prompt`.
    """
    fields = Fields(object_of(value), names)
    check_alone(fields.value, names.ignore)
    if text is None:
        _leave_rendering(fields)
    path = text or fields.first([name for name in ANSWERS if name not in fields.repeated])
    if path is not None:
        given = fields.take(path)
        if is_empty(given):
            raise RecordError(path, "missing" if given is None else "empty")
        answer = text_or_messages(given, path)
        asked = names.prompt or fields.first([*(name for name in (*PROMPT, *MESSAGES) if name not in fields.read)])
        has_more = fields.first((*SYSTEM, *HISTORY)) is not None
        context = read_context(fields) if asked is not None or has_more else Context()
        return _joined(fields, context, answer, path)
    listed = fields.messages()
    if listed is None:
        empty = next((name for name in (*ANSWERS, *MESSAGES) if name in fields.value), text)
        raise RecordError(empty, "empty" if empty in fields.value else f"no field {text or ' or '.join(ANSWERS)}")
    found = _joined(fields, read_context(fields, listed), None, None)
    if not found.answered or not str(found.messages[-1]["content"]).strip():
        raise RecordError(listed, "no assistant's answer at the end")
    return found


def _leave_rendering(fields: Fields, response: str | None = None) -> None:
    """Leave `text` out where it repeats the record's question and answer, rendered by some template.

    tatsu-lab/alpaca has it besides instruction, input and output, and so have chats prepared for training.
    """
    written = fields.value.get(RENDERED)
    if not isinstance(written, str) or RENDERED in (fields.names.prompt, response):
        return
    listed, asked = fields.first(MESSAGES), fields.first(QUESTION)
    said: list[Any] = []
    if asked is not None:
        answer = next((name for name in ANSWERS if name != RENDERED and fields.has(name)), None)
        said = [fields.value.get(name) for name in (asked, answer) if name is not None]
    elif listed is not None:
        with suppress(RecordError):
            said = [message["content"] for message in parse_messages(fields.value.get(listed), listed)]
    parts = [part.strip() for part in said if isinstance(part, str) and part.strip()]
    if len(parts) > 1 and len(parts) == len(said) and all(part in written for part in parts):
        fields.repeated[RENDERED] = None


def _joined(
    fields: Fields, context: Context, answer: str | tuple[Message, ...] | None, path: str | None, shape: str = ""
) -> Conversation:
    """Join context and answer into a conversation; without a `shape`, the fields that were read name its source."""
    messages = context.messages
    if isinstance(answer, str) and not answer.strip():
        raise RecordError(path, "empty")
    if isinstance(answer, str) and not messages:
        messages = tuple(open_turns(answer, path or "text")) if is_dialogue(answer) else ()
    elif isinstance(answer, str) and messages[-1]["role"] == "assistant":
        if str(messages[-1]["content"]).strip() != answer.strip():
            raise RecordError(path, "an answer beside a conversation that has one at its end")
    elif answer is not None:
        messages = with_answer(context, answer, Answer(answer, path or "text", 0))
    plain: tuple[str | None, str | None] | None = None
    if not isinstance(answer, tuple):
        if context.plain is not None:
            plain = (context.plain, None if answer is None else context.begun + answer)
        elif not context.messages and answer is not None:
            plain = (None, answer)
    check_unused(fields, [messages, *([] if answer is None else [[{"content": str(answer)}]])])
    return Conversation(
        messages,
        plain,
        context.turns_of,
        context.template,
        shape or _shape_of(fields),
        tuple(fields.read),
        tuple(fields.left),
    )


def _of_pair(fields: Fields) -> tuple[str, Context | None]:
    """Return the shape and prompt of a preference pair: the question, or the conversations' common beginning."""
    shape = shape_or_none(fields)
    if shape is None:
        return "", None
    pair, fault = None, None
    try:
        pair = read_pair(fields.value, PairsSpec(names=fields.names))
    except RecordError as error:
        fault = error
    if pair is None or not pair.whole:
        context = shape.context_of(fields)
        if fault is not None and not context.messages:  # with a prompt, a fault of the answers does not matter
            raise fault
        return shape.name, context
    both = zip(pair.chosen[:-1], pair.rejected[:-1], strict=False)
    shared = tuple(message for message, _ in takewhile(lambda two: two[0] == two[1], both))
    while shared and shared[-1]["role"] != "user":
        shared = shared[:-1]
    if not shared:
        raise RecordError(None, "the two conversations begin with different questions")
    fields.read.update(dict.fromkeys(pair.read))
    fields.repeated.update(dict.fromkeys(name for name in fields.value if name not in (*pair.read, *pair.left)))
    alone = len(shared) == 1 and not pair.template
    return shape.name, Context(shared, None, str(shared[0]["content"]) if alone else None, pair.template)


def _shape_of(fields: Fields) -> str:
    """Name the fields that a prompt was read from; `text` if there are none."""
    asked = [path for path in fields.read if path.partition(".")[0] in (*PROMPTS, *MESSAGES, *ANSWERS)]
    return " + ".join(asked[:3]) or "text"
