"""Stage 2, tokenize, for chats: messages through the model's template, and where in the result each content stands.

1. The chat is rendered by the template, then tokenized without adding special tokens again: at most one leading BOS.
2. The same roles are rendered with placeholders for contents, which leaves the template's own pieces; between those the
   contents must stand, whole or trimmed. Boundaries are then read off the token spans, never by tokenizing parts apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from actkit.errors import ModelError, RecordError
from actkit.pipeline.data import Encoding
from actkit.pipeline.tokenize import TEMPLATE, Span, Tokenizer, check_text, encoding_of, tokens_of

Message = Mapping[str, str]


def encode_chat(
    tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool
) -> tuple[Encoding, list[Span]]:
    """Render `messages` with the model's chat template and tokenize the result.

    Returns the encoding and, for each message, the characters of the rendered text that are its content.
    Raises RecordError when the template refuses the messages or a content is not to be found in what it made.
    """
    for message in messages:
        check_text(message["content"])
    text = render(tokenizer, messages, add_generation_prompt)
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
    """The chat template's text for `messages`."""
    if not tokenizer.chat_template:
        raise ModelError("this model has no chat template", "use --no-chat, or an instruction-tuned model")
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # a template is a program of the model's author and may raise anything
        raise RecordError("messages", f"the model's chat template refuses them: {str(error)[:200]}") from error
    return str(text)


def content_spans(
    tokenizer: Tokenizer, messages: Sequence[Message], text: str, add_generation_prompt: bool
) -> list[Span]:
    """Where in the rendered `text` each message's content stands, as character spans in order.

    The same roles are rendered with placeholders, which leaves the template's own pieces; between those the contents
    must stand, whole or trimmed. Templates that rewrite a content (thinking) fall back to a search in order.
    """
    marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
    blank = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    pieces: list[str] = []
    try:
        rest = render(tokenizer, blank, add_generation_prompt)
        for mark in marks:
            piece, found, rest = rest.partition(mark)
            pieces.append(piece if found else "")
    except RecordError:
        pieces = [""] * len(messages)
    spans: list[Span] = []
    at = 0
    for message, piece in zip(messages, pieces, strict=True):
        content = message["content"]
        at = at + len(piece) if text.startswith(piece, at) else at
        start, end = _find(text, content, at)
        if start < 0:
            raise RecordError("messages", f"the chat template changes the {message['role']} message beyond recognition")
        spans.append((start, end))
        at = end
    return spans


def _find(text: str, content: str, at: int) -> Span:
    """`content` in `text`, whole or trimmed: at once at `at`, else the next place after it; (-1, -1) if nowhere."""
    forms = (content, content.strip())
    for form in forms:
        if text.startswith(form, at):
            return at, at + len(form)
    found = [(text.find(form, at), len(form)) for form in forms]
    return next(((start, start + length) for start, length in found if start >= 0), (-1, -1))
