"""Stage 2, tokenize, for chats: render messages by the model's template, and locate each content in the result.

1. The template renders the chat. The result is tokenized without adding special tokens again: at most one leading BOS.
2. The template renders the same roles with placeholders for contents, which leaves its own pieces. The chat must be
   these pieces with the contents between them, to the last character: whole, trimmed, or without the thoughts that they
   begin with. Any other chat is a bad record. Boundaries are then read off the token spans; parts are never tokenized
   apart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from actkit.config import MOST_TOKENS
from actkit.errors import ModelError, RecordError
from actkit.pipeline.data import Encoding
from actkit.pipeline.tokens.chat_spans import between, forms_of, with_marks, with_tag
from actkit.pipeline.tokens.long_texts import tokens_in
from actkit.pipeline.tokens.spans import Span
from actkit.pipeline.tokens.tokenize import TEMPLATE, Tokenizer, check_text, encoding_of, tokens_of

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Rendering:
    """The arguments of a chat template besides the messages."""

    add_generation_prompt: bool
    tools: Sequence[Any] | None = None
    """JSON schemas of the tools that the model may call."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further variables of the template, such as enable_thinking."""


def encode_chat(
    tokenizer: Tokenizer, messages: Sequence[Message], how: Rendering | bool
) -> tuple[Encoding, list[Span]]:
    """Render `messages` with the model's chat template and tokenize the result.

    `how` may be a bool: whether an answer is asked for. Returns the encoding and, for each message, the character span
    of its content in the rendered text. Raises RecordError when the template refuses the messages or leaves out a tool
    or a tool call, and when a content cannot be located.
    """
    how = Rendering(how) if isinstance(how, bool) else how
    for message in messages:
        check_text(message["content"])
    text = render(tokenizer, messages, how)
    check_text(text)  # a role may hold half a character too
    _check_calls(messages, text)
    _check_tools(how.tools, text)
    spans = content_spans(tokenizer, messages, text, how)
    if not text:
        raise RecordError("messages", "the chat template renders them as nothing")
    encoding = encoding_of(tokenizer, text, *tokens_in(tokenizer, text, False, MOST_TOKENS), typed=spans)
    role: list[str | None] = [TEMPLATE] * len(encoding)
    for message, span in zip(messages, spans, strict=True):
        first, last = tokens_of(encoding, span)
        role[first:last] = [message["role"]] * (last - first)
    return replace(encoding, role=tuple(role)), spans


def render(tokenizer: Tokenizer, messages: Sequence[Message], how: Rendering) -> str:
    """Return the chat template's text for `messages`.

    Raises ModelError where there is no template or it does not end, and RecordError where it refuses the messages.
    """
    if not tokenizer.chat_template:
        raise ModelError("this model has no chat template", "use --no-chat, or an instruction-tuned model")
    shown = [dict(message) for message in messages]
    if _takes_parts(tokenizer, str(tokenizer.chat_template)):
        shown = [message | {"content": _in_parts(message["content"])} for message in shown]
    try:
        text = tokenizer.apply_chat_template(
            shown,
            tokenize=False,
            add_generation_prompt=how.add_generation_prompt,
            **({} if how.tools is None else {"tools": list(how.tools)}),
            **how.options,
        )
    except ModelError:
        raise
    except Exception as error:  # a template is a program of the model's author and may raise anything
        says = "".join(character if character.isprintable() else " " for character in str(error)[:200])
        reason = f"the model's chat template refuses them: {says}"
        if any(message["role"] == "system" for message in messages):
            reason += " (if it has no system role, put the system text at the head of the first user message)"
        raise RecordError("messages", reason) from error
    return str(text)


@lru_cache(maxsize=8)
def _takes_parts(tokenizer: Tokenizer, _template: str) -> bool:
    """Whether the template, as some of image models, writes contents only where they are lists of parts, not text."""

    def rendered(content: Any) -> str:
        try:
            return str(tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False))
        except ModelError:
            raise
        except Exception:  # a template may refuse such a chat
            return ""

    mark = "\ue000"
    if mark in rendered(mark):
        return False
    (part,) = parts = _in_parts(mark)
    text = rendered(parts)
    return mark in text and str(part) not in text and json.dumps(part, ensure_ascii=False) not in text


def _in_parts(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}]


def _check_calls(messages: Sequence[Message], text: str) -> None:
    """Raise RecordError for a tool call that the template left out in silence, as many templates do."""
    for index, message in enumerate(messages):
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise RecordError(f"messages[{index}].tool_calls", "not a list of calls")
        for call in calls:
            name = _name_of(call)
            if name is None or name not in text:
                raise RecordError(f"messages[{index}].tool_calls", "the chat template leaves this call out")


def _check_tools(tools: Sequence[Any] | None, text: str) -> None:
    """Raise RecordError for a tool that the template left out in silence: the model would not know of it."""
    for index, tool in enumerate(tools or ()):
        name = _name_of(tool)
        if not name:
            raise RecordError(f"tools[{index}]", "not a tool with a name")
        if name not in text:
            raise RecordError(
                f"tools[{index}]",
                f"the chat template leaves the tool {name[:60]} out; --ignore-field tools does without",
            )


def _name_of(described: Any) -> str | None:
    """Return the name of a tool, or of the tool that a call names; either may have it in `function`."""
    own = described.get("function", described) if isinstance(described, Mapping) else None
    name = own.get("name") if isinstance(own, Mapping) else None
    return name if isinstance(name, str) else None


def content_spans(tokenizer: Tokenizer, messages: Sequence[Message], text: str, how: Rendering) -> list[Span]:
    """Locate each message's content in the rendered `text`: character spans in the order of the messages.

    First all contents are replaced by placeholders. Where a template depends on contents (thinking), so that this does
    not work, each content is replaced alone. A thought that the template leaves out is in no span. Raises RecordError
    where neither way accounts for every character of `text`.
    """
    # A message that only calls tools gets no placeholder: templates write messages with content otherwise.
    said = [index for index, message in enumerate(messages) if message["content"] or not message.get("tool_calls")]
    everywhere = {index: f"\ue000{index}\ue001" for index in said}
    found = _placed(tokenizer, messages, everywhere, text, how)
    if found is None:
        found = [_alone(tokenizer, messages, index, text, how) for index in said]
        if any(first[1] > second[0] for first, second in pairwise(sorted(found))):
            raise RecordError("messages", f"the chat template mixes the contents of {len(messages)} messages")
    spans = dict(zip(said, found, strict=True))
    return [spans.get(index, (0, 0)) for index in range(len(messages))]


def _placed(
    tokenizer: Tokenizer, messages: Sequence[Message], marks: Mapping[int, str], text: str, how: Rendering
) -> list[Span] | None:
    """Find the spans of the messages in `marks` (number → placeholder); None if placeholders do not locate them.

    Each content is tried as one piece, then as a thought and an answer.
    """
    contents = {index: messages[index]["content"] for index in marks}
    whole = {index: (mark, [(mark, contents[index])]) for index, mark in marks.items()}
    parts = {index: with_marks(contents[index], mark) for index, mark in marks.items()}
    for marked in (whole, parts) if parts != whole else (whole,):
        shown = [
            {**message, "content": marked[at][0]} if at in marked else message for at, message in enumerate(messages)
        ]
        try:
            shape = _shape(tokenizer, shown, how)
        except RecordError:
            continue
        # A thought may be left out, an answer may not.
        kept = [
            [piece for piece in pieces if piece == pieces[-1] or piece[0] in shape] for _, pieces in marked.values()
        ]
        found = between(shape, [piece for pieces in kept for piece in pieces], text)
        if found is not None:
            ends = [(found[pieces[0][0]][0], found[pieces[-1][0]][1], len(pieces) > 1) for pieces in kept]
            return [(with_tag(text, start) if thought else start, end) for start, end, thought in ends]
    return None


def _shape(tokenizer: Tokenizer, shown: Sequence[Message], how: Rendering) -> str:
    """Render placeholders. The rendering is the same for all plain chats of the same roles, and cached for them.

    Raises the errors of `render`.
    """
    plain = all(message.keys() == {"role", "content"} for message in shown) and how.tools is None and not how.options
    if not plain or not isinstance(tokenizer.chat_template, str):
        return render(tokenizer, shown, how)
    said = tuple((str(message["role"]), str(message["content"])) for message in shown)
    return _kept_shape(tokenizer, tokenizer.chat_template, said, how.add_generation_prompt)


@lru_cache(maxsize=64)
def _kept_shape(tokenizer: Tokenizer, _template: str, said: tuple[tuple[str, str], ...], asks: bool) -> str:
    return render(tokenizer, [{"role": role, "content": content} for role, content in said], Rendering(asks))


def _alone(tokenizer: Tokenizer, messages: Sequence[Message], index: int, text: str, how: Rendering) -> Span:
    """Find the span of one content; the text around it must equal the text around a placeholder in its place."""
    content = messages[index]["content"]
    spans = _placed(tokenizer, messages, {index: "\ue000\ue001"}, text, how)
    if spans is None and content.strip() and text.count(content.strip()) == 1 and 0 < index == len(messages) - 1:
        # The template renders the placeholder otherwise than the content. The content is located all the same if `text`
        # begins with the rendering of the messages before, with an answer asked for, and the content follows.
        before = render(tokenizer, messages[:index], replace(how, add_generation_prompt=True))
        form = next((form for form in forms_of(content) if before and text.startswith(before + form)), None)
        spans = [(len(before), len(before) + len(form))] if form else None
    if spans is None:
        role = messages[index]["role"]
        raise RecordError("messages", f"the chat template changes the {role} message beyond recognition")
    return spans[0]
