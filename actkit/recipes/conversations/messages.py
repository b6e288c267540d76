"""Read the messages of a conversation into one form, from fields of any known form and names."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actkit.errors import RecordError
from actkit.pipeline.input.field_names import WHAT, WHO, is_message, is_typed, with_role

Message = Mapping[str, Any]
"""`role` and `content`, both text; tool calls as they were given."""
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "customer", "client"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "chatbot", "ai", "agent"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "tool_response", "ipython"), "tool"),
}
"""A speaker's name in small letters → the role that chat templates know."""
CALLERS = ("function_call", "tool_call")
"""Speakers whose text is a tool call as JSON (sharegpt)."""
CALLS = {"assistant": ("tool_calls",), "tool": ("tool_call_id",)}
"""Role → parts of a message that go to the chat template unchanged, besides the content and a speaker's `name`."""
UNREAD = (
    *("function_call", "reasoning_content", "reasoning", "reasoning_details", "thinking", "thoughts", "tool_plan"),
    *("documents", "images", "image", "image_url", "audio", "audios", "video", "videos", "attachments"),
    *("channel", "recipient", "prefix", "partial"),
)
"""Parts of a message, besides its content, that some templates write and others leave out."""
USUAL = {"channel": "final", "recipient": "all"}
"""Values that mean the same as a missing part: the channel and recipient of an ordinary answer (gpt-oss)."""
TURNS = (
    ("input", "output"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("question", "answer"),
    ("prompt", "response"),
)
"""Names of a question and its answer in one object: LDJnr/Capybara and the like."""
WRAPPED = ("messages", "conversations", "conversation")
"""Fields under which an object may hold its messages."""
PRINTED = re.compile(
    r"""\s*[\[(]?\s*(?:array\()?\s*[\[(]?\s*\{\s*'(?:role|from|speaker|type|content|value|text|utterance)'\s*:"""
)
JSON_LIST = re.compile(r'\s*\[\s*\{\s*"(?:role|from|content|value)"\s*:')
PRINTED_LIST = (
    "{} holds a Python list that was printed: write the column as JSON, by json.dumps or "
    "DataFrame.to_json(orient='records', lines=True)"
)
LOST = "this part of a message is not read, and would be lost"


def text_or_messages(value: Any, field: str) -> str | tuple[Message, ...]:
    """Return the text of a field, or its messages in any of their forms, including JSON text.

    Raises RecordError for a list that Python printed, and for any other value.
    """
    if isinstance(value, str):
        found = _decoded(value, field)
        return value if found is None else parse_messages(found, field)
    inner = next((name for name in WRAPPED if name in value), None) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping) and not _is_message(value) and (inner is not None or not _lists_of(value)):
        if inner is None:
            raise RecordError(
                field, f"not text or messages but {kind_of(value)} with {', '.join(map(str, value))[:80]}"
            )
        within = value[inner]
        if isinstance(within, Mapping) and not _is_message(within) and not _lists_of(within):
            raise RecordError(f"{field}.{inner}", "not text or messages but an object")
        return text_or_messages(within, f"{field}.{inner}")
    if not isinstance(value, (Mapping, list, tuple)):
        raise RecordError(field, f"not text or messages but {kind_of(value)}")
    return text_of(value, field) if _are_parts(value) else parse_messages(value, field)


def parse_messages(value: Any, field: str) -> tuple[Message, ...]:
    """Read messages into one form from a list, one message, an object of lists, or JSON text of these.

    A message that calls tools keeps the calls, and may have no content. Raises RecordError, with the path, for a
    missing part, a wrong type, and a part besides the content that would be lost (`UNREAD`), such as a thought.
    """
    if isinstance(value, str):
        value = _decoded(value, field) or value
    if isinstance(value, Mapping) and _is_message(value):
        value = [value]
    elif isinstance(value, Mapping) and _lists_of(value):
        value = rows_of(value, field)
    if not isinstance(value, (list, tuple)):
        raise RecordError(field, f"not a list of messages but {kind_of(value)}")
    found: list[Message] = []
    for index, message in enumerate(value):
        place = f"{field}[{index}]"
        if isinstance(message, (list, tuple)) and len(message) == 2:
            spoken = isinstance(message[0], str) and message[0].strip().lower() in ROLES
            found += (
                [_message(dict(zip(("role", "content"), message, strict=True)), place)]
                if spoken
                else _turn(message, place)
            )
        elif isinstance(message, Mapping):
            names = None if _is_message(message) else next((two for two in TURNS if set(two) <= set(message)), None)
            found += [_message(message, place)] if names is None else _turn([message[name] for name in names], place)
        else:
            raise RecordError(place, f"not a message but {kind_of(message)}")
    if not found:
        raise RecordError(field, "empty")
    return tuple(found)


def is_turn(value: Any) -> bool:
    """Whether an object is a turn of a conversation: a message whose speaker has the name of a role."""
    speaker = _first_of(value, (*WHO, "type")) if is_message(value) else None
    return isinstance(speaker, str) and speaker.strip().lower() in (*ROLES, *CALLERS)


def rows_of(value: Any, field: str) -> Sequence[Any]:
    """Return a list, or the rows of an object of lists, as `datasets` writes a list of objects; also from JSON text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        if PRINTED.match(value):
            raise RecordError(field, PRINTED_LIST.format(field))
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            why = PRINTED_LIST if value.lstrip().startswith("['") else "neither a list nor JSON text of one"
            raise RecordError(field, why.format(field)) from error
    if isinstance(value, Mapping) and _lists_of(value):
        lengths = {len(column) for column in value.values() if column is not None}
        if len(lengths) != 1:
            raise RecordError(field, "an object of lists of different lengths")
        present = {name: column for name, column in value.items() if column is not None}
        return [dict(zip(present, row, strict=True)) for row in zip(*present.values(), strict=True)]
    if not isinstance(value, (list, tuple)):
        raise RecordError(field, f"not a list but {kind_of(value)}")
    return value


def check_read(message: Mapping[str, Any], place: str) -> None:
    """Raise RecordError for a part of a message that would be lost: see `UNREAD`."""
    unread = next((key for key in UNREAD if message.get(key) and message[key] != USUAL.get(key)), None)
    if unread is not None:
        raise RecordError(f"{place}.{unread}", LOST)


def text_of(value: Any, field: str) -> str:
    """Return a field's text, which may be empty; parts of text are joined. Raises RecordError for any other value."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(message, Mapping) for message in value):
        return "".join(_parts(value, field))
    if not isinstance(value, str):
        raise RecordError(field, "missing" if value is None else f"not text but {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value for an error."""
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true or false"}
    names["bytes"] = "bytes"
    return names.get(type(value).__name__, "a number")


def _message(message: Mapping[str, Any], place: str) -> Message:
    message = with_role(message)
    check_read(message, place)
    role = _first_of(message, WHO)
    name = role.strip().lower() if isinstance(role, str) else None
    said = _first_of(message, WHAT)
    if name in CALLERS:
        return {"role": "assistant", "content": "", "tool_calls": _calls(said, place)}
    if name not in ROLES:
        raise RecordError(f"{place}.role", f"unknown role {repr(role)[:60]}")
    role = ROLES[name]
    beside = {key: message[key] for key in (*CALLS.get(role, ()), "name") if message.get(key)}
    content = "" if said is None and "tool_calls" in beside else text_of(said, f"{place}.content")
    return {"role": role, "content": content, **beside}


def _calls(said: Any, place: str) -> list[dict[str, Any]]:
    """Read the tool calls that a message of sharegpt writes as JSON: one call, or a list."""
    try:
        found = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{place}.content", "the call of a tool is no JSON") from error
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise RecordError(f"{place}.content", "the call of a tool has no name")
    return [{"type": "function", "function": dict(call)} for call in calls]


def _turn(said: Sequence[Any], place: str) -> list[Message]:
    """Make messages of a question and its answer; empty or null ones are dropped, as before a greeting."""
    roles = zip(("user", "assistant"), said, strict=True)
    return [
        {"role": role, "content": text_of(text, f"{place}.{role}")} for role, text in roles if text not in (None, "")
    ]


def _parts(parts: Sequence[Any], field: str) -> Iterator[str]:
    for index, part in enumerate(parts):
        place = f"{field}[{index}]"
        kind = part.get("type") or next((key for key, said in part.items() if said and part.get("text") is None), None)
        if kind not in (None, "text", "input_text", "output_text"):
            raise RecordError(place, f"a part that is no text but {repr(kind)[:40]}")
        if part.get("thought"):  # Gemini's
            raise RecordError(f"{place}.thought", LOST)
        yield text_of(part.get("text"), f"{place}.text")


def _decoded(text: str, field: str) -> Any:
    """Decode the messages in a JSON text; None where the text is no such JSON."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    if PRINTED.match(text):
        raise RecordError(field, PRINTED_LIST.format(field))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if JSON_LIST.match(text):
            raise RecordError(field, "begins as messages in JSON, but is no whole JSON") from error
        return None
    listed = (
        isinstance(value, list)
        and value
        and all(isinstance(message, Mapping) and _is_message(message) for message in value)
    )
    return value if listed or (isinstance(value, Mapping) and (_is_message(value) or _lists_of(value))) else None


def _is_message(value: Mapping[str, Any]) -> bool:
    who, said = _first_of(value, WHO), _first_of(value, WHAT)
    if isinstance(who, (list, tuple)):
        return False
    has_text = said is not None or any(name in value for name in (*WHAT, "tool_calls"))
    return (any(name in value for name in WHO) and has_text) or is_typed(value)


def _are_parts(value: Any) -> bool:
    """Whether a list holds the parts of one text, as the content of a message may (OpenAI, Anthropic)."""
    objects = isinstance(value, (list, tuple)) and bool(value) and all(isinstance(part, Mapping) for part in value)
    return objects and all(isinstance(part.get("type"), str) and not _is_message(part) for part in value)


def _lists_of(value: Mapping[str, Any]) -> bool:
    """Whether an object holds only lists, two at least, as a list of objects is written; their lengths may differ."""
    columns = [column for column in value.values() if column is not None]
    return bool(columns) and all(isinstance(column, (list, tuple)) for column in columns) and len(value) > 1


def _first_of(message: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first value that is not null under several names: a table of many kinds of messages has all names."""
    return next((message[name] for name in names if message.get(name) is not None), None)
