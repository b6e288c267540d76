"""Read the context of an answer: system message, earlier turns, the question, and the tools that the model may call.

1. The question is a prompt's text or messages; Alpaca's `input` is written below it.
2. Earlier turns (`history`) and a system message, each from its own field, go before it.
3. Tools and other options go to the chat template.

`unread` checks fields that carry context and are none of these.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.dialogues import is_dialogue, open_turns
from actkit.recipes.conversations.fields import Fields, is_empty, prefixes_of
from actkit.recipes.conversations.messages import Message, parse_messages, text_of, text_or_messages
from actkit.recipes.conversations.names import (
    BEGUN,
    HISTORY,
    JOINED,
    MESSAGES,
    PROMPT,
    SYSTEM,
    TEMPLATE_OPTIONS,
    TOOLS,
)
from actkit.recipes.conversations.unread import stands_in

OWN = ("tokenize", "add_generation_prompt", "conversation", "tools", "return_dict", "return_tensors")
"""Options of the chat template that a record may not set."""
Until = Callable[[Sequence[Message], int], int]
"""Messages, and their number up to the question that they repeat → the number of messages to read."""


@dataclass(frozen=True)
class Context:
    """The messages, tools and options that stand before an answer."""

    asked: tuple[Message, ...] = ()
    """Earlier turns and the question."""
    system: str | None = None
    """The system message, if it has its own field."""
    plain: str | None = None
    """The prompt as given, if it is one text and no other field puts anything before it."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the chat template besides the messages: `tools`, and options such as enable_thinking."""
    after_colon: bool = False
    """Whether the prompt is a dialogue that ends with `Assistant:`, so that the space before the answer is dropped."""

    begun: str = ""
    """The beginning of the answer, which the record gives and the answer continues."""
    turns_of: str | None = None
    """The field (system, history, tools) that makes turns of a prompt that is one text."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The system message and all turns, as messages."""
        return self.asked if self.system is None else ({"role": "system", "content": self.system}, *self.asked)


def read_context(fields: Fields, prompt: str | None = None, listed: bool = True, until: Until | None = None) -> Context:
    """Read the context in a record's fields. `prompt` is the path of the question, if it has no usual name.

    Without a question, messages are the context if `listed` is set; without either, the context is empty. Messages that
    repeat the question are read as far as the question, or as far as `until` returns. Raises RecordError, with the
    field.
    """
    path = fields.names.prompt or prompt or fields.first([name for name in PROMPT if name not in fields.read])
    among = [name for name in MESSAGES if name != path and name not in fields.read] if listed else []
    messages = fields.first(among)
    if path is None and messages is None:
        there = next((name for name in (*PROMPT, *among) if name in fields.value and not fields.ignored(name)), None)
        if there is not None and listed and fields.first((*SYSTEM, *HISTORY)) is None:
            raise RecordError(there, "empty")
        return _with_more(fields, Context(), None)
    if path is None:
        assert messages is not None
        return _with_more(fields, Context(parse_messages(fields.take(messages), messages)), messages)
    if is_empty(fields.take(path)):
        raise RecordError(path, "missing" if fields.take(path) is None else "empty")
    said = text_or_messages(fields.take(path), path)
    asked = _asked(fields, said, path) if isinstance(said, str) else Context(said)
    if messages is not None:
        found = _repeating(fields, messages, asked.asked, until)
        more = found is not None and len(found) > len(asked.asked)
        asked = Context(found, after_colon=asked.after_colon) if found is not None and more else asked
    return _with_more(fields, asked, path)


def whole_beside(fields: Fields, answer: str | None) -> Until | None:
    """Return how far to read messages that continue after a prompt with its own field: ultrachat_200k, Inspect's logs.

    They are read to their end if it is a question or no field `answer` is there, and up to the answer if they end with
    it; else only as far as the prompt. Returns None for a prompt that a user named: it is read alone.
    """
    if fields.names.prompt is not None:
        return None
    value = fields.value.get(answer) if answer is not None and fields.has(answer) else None
    last = value.strip() if isinstance(value, str) else None

    def until(messages: Sequence[Message], asked: int) -> int:
        if value is None or messages[-1]["role"] == "user":
            return len(messages)
        return max(asked, len(messages) - 1) if messages[-1]["content"].strip() == last else asked

    return until


def _repeating(fields: Fields, name: str, asked: Sequence[Message], until: Until | None) -> tuple[Message, ...] | None:
    """Read a field whose messages repeat the question, as far as it or `until`; None if they do not repeat it."""
    try:
        messages = parse_messages(fields.value[name], name)
    except RecordError:
        return None
    wanted, there = list(map(_said, asked)), list(map(_said, messages))
    ends = (end for end in range(len(there), len(wanted) - 1, -1) if there[end - len(wanted) : end] == wanted)
    end = next(ends, None)
    if end is None:
        return None
    fields.take(name)
    return messages[: end if until is None else until(messages, end)]


def _said(message: Message) -> tuple[str, str]:
    return message["role"], message["content"].strip()


def _asked(fields: Fields, said: str, path: str) -> Context:
    """Make the context of a prompt's text: join a field that belongs below it, and divide a dialogue into messages."""
    for below in JOINED.get(path, ()):
        if fields.has(below) and not stands_in(text_of(fields.value[below], below), [said]):
            said = f"{said}\n{text_of(fields.take(below), below)}"
            return Context(({"role": "user", "content": said},), plain=said)
    if is_dialogue(said):
        return Context(tuple(open_turns(said, path)), plain=said, after_colon=said.endswith("Assistant:"))
    return Context(({"role": "user", "content": said},), plain=said)


def _with_more(fields: Fields, context: Context, path: str | None) -> Context:
    """Add to the question the messages that other fields put before it, and their arguments for the chat template."""
    before = list(fields.read)
    template, history, system = _template(fields, path), _history(fields), _system(fields)
    more = [name for name in fields.read if name not in before]
    asked = context.asked
    first = 1 if asked and asked[0]["role"] == "system" else 0
    if first and system is not None:
        if str(asked[0]["content"]).strip() != system[1].strip():
            raise RecordError(system[0], "another system message than the conversation's own")
        system = None
    begun = fields.first(BEGUN)
    return Context(
        (*asked[:first], *history, *asked[first:]),
        None if system is None else system[1],
        None if more else context.plain,
        template,
        context.after_colon,
        "" if begun is None else text_of(fields.take(begun), begun),
        more[0] if more and context.plain is not None else None,
    )


def _system(fields: Fields) -> tuple[str, str] | None:
    path = fields.names.system or fields.first(SYSTEM)
    if path is None or is_empty(fields.take(path)):
        return None
    said = fields.take(path)
    parts = said.get("parts") if isinstance(said, Mapping) else None  # Gemini's
    return path, text_of(said if parts is None else parts, path)


def _history(fields: Fields) -> tuple[Message, ...]:
    path = fields.names.history or fields.first(HISTORY)
    # The field called history may be the prompt (SHP), which has been read already.
    if path is None or path in fields.read or is_empty(fields.take(path), listed=True):
        return ()
    said = text_or_messages(fields.take(path), path)
    if not isinstance(said, str):
        return said
    if not is_dialogue(said):
        raise RecordError(path, "earlier turns as one text: who speaks is not known")
    return tuple(open_turns(said, path))


def _template(fields: Fields, path: str | None) -> dict[str, Any]:
    """Read arguments of the chat template: tools, of the record or next to its messages, and TRL's options."""
    options: dict[str, Any] = {}
    name = fields.first([*TOOLS, *(f"{parent}.tools" for parent in reversed(prefixes_of(path) if path else []))])
    if name is not None:
        options["tools"] = _tools(fields.take(name), name)
    if fields.has(TEMPLATE_OPTIONS):
        more = fields.take(TEMPLATE_OPTIONS)
        if not isinstance(more, Mapping) or not all(isinstance(key, str) and key not in OWN for key in more):
            raise RecordError(TEMPLATE_OPTIONS, "not an object of options of a chat template")
        options |= {key: value for key, value in more.items() if value is not None}
    return options


def _tools(value: Any, name: str) -> list[Any]:
    """Read a list of tools, or JSON text of one (LLaMA-Factory); wrap OpenAI's older `functions` as tools."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RecordError(name, "tools as text that is no JSON") from error
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(tool, Mapping) for tool in found):
        raise RecordError(name, "not a list of tools")
    return [{"type": "function", "function": tool} if name == "functions" else tool for tool in found]
