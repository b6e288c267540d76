"""Names of fields: dotted paths of fields within others, and usual names, by which a header differs from data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 6
"""Most parts of a path."""
MOST = 200
"""Most paths of one record: an object may have a key for each of a million words."""
WHO, WHAT = ("role", "from", "speaker"), ("content", "value", "text", "utterance", "parts")
"""Names of a message's speaker and of its content, in any form of messages."""
TYPED = ("human", "ai", "system", "tool")
"""Speakers that a message of LangChain names as its `type`; its `content` is next to that, or within `data`."""
KNOWN = frozenset(
    (
        "text content document story body sentence sentences review comment title passage input output target source "
        "prompt question query instruction messages conversation conversations dialogue dialog context system "
        "history tools response answer completion chosen rejected prompt_id response_0 response_1 answers "
        "completions responses label labels class category feedback rating score sentiment stars grade kto_tag "
        "helpfulness toxicity toxic positive negative anchor claim statement stem template sentence1 sentence2 "
        "premise hypothesis id idx index group question_id message_id comment_id text_id url date author user"
    ).split()
)
"""Usual names of fields, in small letters, with `_` for a blank or a hyphen."""


def is_message(value: Any) -> bool:
    """Whether an object is a message of a conversation."""
    return isinstance(value, Mapping) and (all(value.keys() & names for names in (WHO, WHAT)) or is_typed(value))


def is_typed(value: Mapping[Any, Any]) -> bool:
    """Whether an object is a message as LangChain writes it: `type`, with `content` next to it or within `data`."""
    held = value.get("data", value)
    return value.get("type") in TYPED and isinstance(held, Mapping) and "content" in held


def with_role(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a message of LangChain a `role`, and tool calls as OpenAI writes them; return any other unchanged."""
    if not is_typed(message) or any(message.get(name) is not None for name in WHO):
        return message
    held = message.get("data", message)
    calls = [_call(call) for call in held.get("tool_calls") or ()]
    return {**held, "role": message["type"], **({"tool_calls": calls} if calls else {})}


def _call(call: Any) -> Any:
    if not isinstance(call, Mapping) or "args" not in call:
        return call
    return {"type": "function", "id": call.get("id"), "function": {"name": call.get("name"), "arguments": call["args"]}}


def are_messages(value: Any) -> bool:
    """Whether a value is a list of messages."""
    return _is_list(value) and bool(value) and all(map(is_message, value))


def leaves(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Path → value of every field that holds no other fields; a message, or a list of messages, counts as one value.

    A list of other objects is represented by its first object, since objects of a list have the same fields.
    """
    found: dict[str, Any] = {}
    for path, value in _leaves(record, "", DEEPEST):
        if len(found) == MOST:
            break
        found[path] = value
    return found


def _leaves(value: Mapping[Any, Any], before: str, deepest: int) -> Iterator[tuple[str, Any]]:
    for name, cell in value.items():
        path = f"{before}{name}"
        first = cell[0] if _is_list(cell) and cell else None
        if deepest > 1 and isinstance(cell, Mapping) and cell and not is_message(cell) and not _is_columns(cell):
            yield from _leaves(cell, f"{path}.", deepest - 1)
        elif deepest > 1 and isinstance(first, Mapping) and first and not is_message(first):
            yield from _leaves(first, f"{path}.0.", deepest - 2)
        else:
            yield path, cell


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_columns(value: Mapping[Any, Any]) -> bool:
    """Whether an object holds equally long lists under all its names, as `datasets` writes a list of objects."""
    lists = [cell for cell in value.values() if cell is not None]
    return len(value) > 1 and all(map(_is_list, lists)) and len(set(map(len, lists))) == 1


def is_known(name: str) -> bool:
    """Whether a field's name is usual or has a usual word in it: `Best Answer` and `answer_1` as well as `answer`."""
    return is_usual(name) or any(word in KNOWN for word in _plain(name).split("_"))


def is_usual(name: str) -> bool:
    """Whether the whole name of a field is usual."""
    return _plain(name) in KNOWN


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
