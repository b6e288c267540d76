"""Messages of a conversation, under whatever names a record has them, in one form."""

from collections.abc import Mapping
from typing import Any

from actkit.errors import RecordError

Message = Mapping[str, Any]
"""`role` and `content`, both text; calls of tools as they were given."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
}

CALLS = {"assistant": ("tool_calls",), "tool": ("name", "tool_call_id")}
"""Parts beside the content that are left to the chat template, by role."""

UNREAD = ("function_call", "reasoning_content", "thinking")
"""Parts of a message that some templates write out, beside its content, and others leave out."""


def parse_messages(value: Any, field: str) -> tuple[Message, ...]:
    """Messages with role and content, or from and value, in the one form.

    A message that calls tools keeps the calls, and may have no content. Raises RecordError, with the place, for what is
    missing or of a wrong type, and for a message with a thought of its own beside its content.
    """
    if not isinstance(value, list):
        raise RecordError(field, f"not a list of messages but {kind_of(value)}")
    found = []
    for index, message in enumerate(value):
        place = f"{field}[{index}]"
        if not isinstance(message, Mapping):
            raise RecordError(place, f"not a message but {kind_of(message)}")
        check_read(message, place)
        role = _first_of(message, "role", "from")
        if not isinstance(role, str) or role.lower() not in ROLES:
            raise RecordError(f"{place}.role", f"unknown role {repr(role)[:60]}")
        role = ROLES[role.lower()]
        beside = {key: message[key] for key in CALLS.get(role, ()) if message.get(key)}
        said = _first_of(message, "content", "value")
        content = "" if said is None and "tool_calls" in beside else text_of(said, f"{place}.content")
        found.append({"role": role, "content": content, **beside})
    if not found:
        raise RecordError(field, "empty")
    return tuple(found)


def check_read(message: Mapping[str, Any], place: str) -> None:
    """Raise RecordError for a part of a message that is not read."""
    unread = next((key for key in UNREAD if message.get(key)), None)
    if unread is not None:
        raise RecordError(f"{place}.{unread}", "this part of a message is not read, and would be lost")


def _first_of(message: Mapping[str, Any], name: str, other: str) -> Any:
    """A field under one of two names: a table of messages of both kinds has both, one of them null."""
    return message.get(other) if message.get(name) is None else message[name]


def text_of(value: Any, field: str) -> str:
    """A field's text, empty too. Raises RecordError for what is missing or no text."""
    if not isinstance(value, str):
        raise RecordError(field, "missing" if value is None else f"not text but {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What a value of JSON is, in an error's words."""
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true or false"}
    return names.get(type(value).__name__, "a number")
