"""Reads the text of a corpus record, or its chat as the model's template writes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actkit.config import MOST_TOKENS
from actkit.errors import RecordError
from actkit.pipeline.data import Encoding
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.conversations.context import Context, read_context
from actkit.recipes.conversations.fields import ContextFields, Fields, names_of, object_of
from actkit.recipes.conversations.messages import text_or_messages
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.prompts import Conversation, check_whole, read_answered
from actkit.recipes.conversations.unread import check_unused
from actkit.recipes.prompt_response import encode_messages

FIELDS = ("text", "content", "document", "story", "body")
"""Fields looked for, in this order, when `text_field` is not given."""


def read_document(
    value: Any, text_field: str | None, context: ContextFields, tokenizer: Tokenizer, bos: int | None
) -> tuple[str | Encoding, dict[str, tuple[str, ...]]]:
    """Return the document of a record: its text, or a chat's tokens without the BOS that chunks get.

    A record of messages alone is a document too: the whole chat, as the model's template writes it. Also returns the
    facts of the record that a run counts.
    """
    if isinstance(value, str):
        return _whole_text(value, None), {"shapes": ("text",)}
    try:
        value = object_of(value)
    except RecordError as error:
        raise RecordError(None, "not text") from error
    fields = Fields(value, names_of(None, context))
    name = text_field or fields.first(FIELDS)
    if name is None:  # a table of texts and chats has null for a chat's text
        name = fields.messages() or next((name for name in FIELDS if name in value and not fields.ignored(name)), None)
        if name is None:
            return _answered(value, context, tokenizer, bos)
    check_whole(fields, name)
    given = fields.take(name)
    if given is None and name not in value:
        raise RecordError(name, f"no field {name}")
    if isinstance(given, str) and isinstance(text_or_messages(given, name), str):
        return _whole_text(given, name), _said("text", fields)
    if not isinstance(given, (list, Mapping, str)):
        raise RecordError(name, "missing" if given is None else "not text")
    found = read_context(fields, name)
    check_unused(fields, [found.messages])
    return _chat(found, tokenizer, bos), _said("messages", fields)


def _answered(
    value: Mapping[str, Any], context: ContextFields, tokenizer: Tokenizer, bos: int | None
) -> tuple[Encoding, dict[str, tuple[str, ...]]]:
    """Make the document of a question and its answer in fields of their own (Alpaca), as a chat."""
    try:
        found = read_answered(value, names_of(None, context))
    except RecordError:
        found = None
    if found is None or not found.answered:
        raise RecordError(None, f"no field {' or '.join((*FIELDS, *MESSAGES[:2]))}")
    return _chat(found, tokenizer, bos), found.said


def _said(shape: str, fields: Fields) -> dict[str, tuple[str, ...]]:
    return {"shapes": (shape,), "fields_read": tuple(fields.read), "fields_left": tuple(fields.left)}


def _chat(found: Context | Conversation, tokenizer: Tokenizer, bos: int | None) -> Encoding:
    """Encode a chat without the BOS that its template wrote: each chunk gets one, and no other."""
    chat = bool(tokenizer.chat_template)
    encoding = encode_messages(tokenizer, found.messages, chat, "never", told=found.template).encoding
    if encoding.n_beyond:
        raise RecordError(None, f"a chat of {encoding.n_whole:,} tokens: more than {MOST_TOKENS:,} are not taken apart")
    if bos is None or encoding.token_ids[0] != bos:
        return encoding
    at = int(encoding.char_end[0])
    return replace(
        encoding,
        text=encoding.text[at:],
        token_ids=encoding.token_ids[1:],
        char_start=encoding.char_start[1:] - at,
        char_end=encoding.char_end[1:] - at,
        is_special=encoding.is_special[1:],
        role=encoding.role[1:],
    )


def _whole_text(text: str, name: str | None) -> str:
    if not text.strip():
        raise RecordError(name, "empty")
    return text
