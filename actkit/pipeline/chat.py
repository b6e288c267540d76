"""Stage 2, tokenize, for chats: messages through the model's template, and where in the result each content stands.

1. The chat is rendered by the template, then tokenized without adding special tokens again: at most one leading BOS.
2. The same roles are rendered with placeholders for contents, which leaves the template's own pieces. The chat must be
   those pieces with the contents, whole or trimmed, between them to the last character; what is not is a bad record.
   Boundaries are then read off the token spans, never by tokenizing parts apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from actkit.errors import ModelError, RecordError
from actkit.pipeline.data import Encoding
from actkit.pipeline.tokenize import TEMPLATE, Span, Tokenizer, check_text, encoding_of, tokens_of

Message = Mapping[str, str]


def encode_chat(
    tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool
) -> tuple[Encoding, list[Span]]:
    """Render `messages` with the model's chat template and tokenize the result.

    Returns the encoding and, for each message, the characters of the rendered text that are its content.
    Raises RecordError when the template refuses the messages, or where a content stands cannot be known.
    """
    for message in messages:
        check_text(message["content"])
    text = render(tokenizer, messages, add_generation_prompt)
    check_text(text)  # a role, too, may hold half a character
    spans = content_spans(tokenizer, messages, text, add_generation_prompt)
    fields = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(fields["input_ids"]), [tuple(span) for span in fields["offset_mapping"]]
    if not ids:
        raise RecordError("messages", "the chat template renders them as nothing")
    encoding = encoding_of(tokenizer, text, ids, offsets, typed=spans)
    role: list[str | None] = [TEMPLATE] * len(ids)
    for message, span in zip(messages, spans, strict=True):
        first, last = tokens_of(encoding, span)
        role[first:last] = [message["role"]] * (last - first)
    return replace(encoding, role=tuple(role)), spans


def render(tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool) -> str:
    """The chat template's text for `messages`.

    Raises ModelError where there is no template, RecordError where it refuses the messages.
    """
    if not tokenizer.chat_template:
        raise ModelError("this model has no chat template", "use --no-chat, or an instruction-tuned model")
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # a template is a program of the model's author and may raise anything
        reason = f"the model's chat template refuses them: {str(error)[:200]}"
        if any(message["role"] == "system" for message in messages):
            reason += " (if it has no system role, put the system text at the head of the first user message)"
        raise RecordError("messages", reason) from error
    return str(text)


def content_spans(
    tokenizer: Tokenizer, messages: Sequence[Message], text: str, add_generation_prompt: bool
) -> list[Span]:
    """Where in the rendered `text` each message's content stands, as character spans in the order of the messages.

    A template may look at contents (thinking): where placeholders for all do not leave the text's own pieces, each
    content is replaced alone. Raises RecordError where neither accounts for every character of `text`.
    """
    marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
    blank = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    try:
        shape = render(tokenizer, blank, add_generation_prompt)
    except RecordError:
        shape = ""
    spans = _between(shape, marks, [message["content"] for message in messages], text)
    if spans is None:
        spans = [_alone(tokenizer, messages, index, text, add_generation_prompt) for index in range(len(messages))]
        _check_apart(messages, spans)
    return spans


def _between(shape: str, marks: Sequence[str], contents: Sequence[str], text: str) -> list[Span] | None:
    """The spans of `contents` if `text` is `shape` with a content, whole or trimmed, for each mark; else None."""
    if any(shape.count(mark) != 1 for mark in marks):
        return None
    spans: list[Span] = [(0, 0)] * len(marks)
    at = read = 0
    # Not every template keeps the order: some move the system message into the last question.
    for index in sorted(range(len(marks)), key=lambda one: shape.index(marks[one])):
        piece = shape[read : shape.index(marks[index])]
        start, read = at + len(piece), read + len(piece) + len(marks[index])
        after = _piece_after(shape, marks, read)
        form = next((form for form in _forms(contents[index]) if text.startswith(form + after, start)), None)
        if form is None or not text.startswith(piece, at):
            return None
        spans[index] = (start, start + len(form))
        at = start + len(form)
    return spans if text[at:] == shape[read:] else None


def _piece_after(shape: str, marks: Sequence[str], read: int) -> str:
    return shape[read : min((at for mark in marks if (at := shape.find(mark, read)) >= 0), default=len(shape))]


def _forms(content: str) -> tuple[str, ...]:
    return content, content.strip(), content.lstrip(), content.rstrip()


def _alone(
    tokenizer: Tokenizer, messages: Sequence[Message], index: int, text: str, add_generation_prompt: bool
) -> Span:
    """The span of one content; what stands around it must be what stands around a placeholder in its place."""
    content, mark = messages[index]["content"], "\ue000\ue001"
    changed = [{**message, "content": mark} if at == index else message for at, message in enumerate(messages)]
    try:
        spans = _between(render(tokenizer, changed, add_generation_prompt), [mark], [content], text)
        if spans is None and content.strip() and text.count(content.strip()) == 1:
            # The placeholder changed what the template makes of it. What it goes on with is known all the same, if
            # the conversation before, asking for an answer, is the text's own beginning and the content follows.
            before = render(tokenizer, messages[:index], True) if 0 < index == len(messages) - 1 else ""
            form = next((form for form in _forms(content) if before and text.startswith(before + form)), None)
            spans = [(len(before), len(before) + len(form))] if form else None
    except RecordError:
        spans = None
    if spans is None:
        role = messages[index]["role"]
        raise RecordError("messages", f"the chat template changes the {role} message beyond recognition")
    return spans[0]


def _check_apart(messages: Sequence[Message], spans: Sequence[Span]) -> None:
    ordered = sorted(spans)
    if any(first[1] > second[0] for first, second in pairwise(ordered)):
        raise RecordError("messages", f"the chat template mixes the contents of {len(messages)} messages")
