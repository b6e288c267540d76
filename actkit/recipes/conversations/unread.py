"""Check context that was not read: if it does not repeat text that was read, the record is rejected with a remedy."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.dialogues import is_dialogue, open_turns
from actkit.recipes.conversations.fields import Fields, lookup
from actkit.recipes.conversations.messages import Message, text_or_messages
from actkit.recipes.conversations.names import (
    CHOICES,
    HISTORY,
    PROMPT,
    SPELT,
    SYSTEM,
    choices_of,
    fields_of_choices,
    plain,
    tells_context,
)

NAMED = (("--system-field", SYSTEM), ("--history-field", HISTORY), ("--prompt-field", PROMPT))
"""Option → the usual names of the field that it names."""
LONG = 30
"""Fewest characters of a text that is not inside another text by chance."""


def check_unused(fields: Fields, conversations: Sequence[Sequence[Message]]) -> None:
    """Raise RecordError for context that was not read and that none of the conversations repeats."""
    said = [str(message["content"]) for conversation in conversations for message in conversation]
    asked = fields.names.prompt is not None or any(name in fields.read for name in PROMPT)
    each = _each_choice(fields) if asked else []
    judged = len(conversations) == 2 and all(map(_ends_in_answer, conversations))

    def quotes(text: str) -> bool:
        """Whether a text quotes the question and both answers, as a prompt to a judge does (Prometheus)."""
        return all(stands_in(part, [text]) for part in said if part.strip())

    for name in (*fields.unused_context(), *_called_context(fields), *each):
        value = lookup(fields.value, name)
        usual, own = SPELT.get(plain(name)) or SPELT.get(plain(name.rpartition(".")[2])), shlex.quote(name)
        if usual in CHOICES or name in each:
            offered = [value.strip()] if name in each else choices_of(value) if asked else []
            if not offered:  # settings of a sampler or of a label
                continue
            repeats = all(any(choice in other for other in said) for choice in offered)
        else:
            texts = list(_texts(value, name))
            repeats = all(stands_in(text, said) for text in texts) or (judged and any(map(quotes, texts)))
        if repeats:
            fields.repeated[name] = None
            continue
        reads = next((flag for flag, names in NAMED if usual in names and usual != name), None)
        reads = None if reads == "--prompt-field" and fields.names.prompt is not None else reads
        used = f"{reads} {own} reads it, " if reads else ""
        raise RecordError(
            name,
            f"{name} carries context that would be lost: it is not read here; {used}--ignore-field {own} leaves it out",
        )


def _ends_in_answer(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].get("role") == "assistant"


def _called_context(fields: Fields) -> list[str]:
    """Return unread fields with a sentence whose names are not usual but have a word for context."""
    texts = (name for name in fields.left if isinstance(name, str) and name in fields.value)
    names = (name for name in texts if tells_context(name) and plain(name) not in SPELT and not fields.ignored(name))
    return [name for name in names if any(map(_is_sentence, _leaves(fields.value[name])))]


def _is_sentence(text: str) -> bool:
    return len(text) >= LONG and " " in text


def _each_choice(fields: Fields) -> list[str]:
    """Return the fields with one choice each; none if one of them was read, or the user leaves one out."""
    names = fields_of_choices(fields.value)
    return [] if any(name in fields.read or fields.ignored(name) for name in names) else names


def stands_in(text: str, others: Sequence[str]) -> bool:
    """Whether a text equals one of some others, or is whole lines or a long part of one."""
    text = text.strip()
    for other in others:
        if text == other.strip() or (len(text) >= LONG and text in other):
            return True
        if text and re.search(rf"(?:^|\n)[ \t]*{re.escape(text)}[ \t]*(?:\n|$)", other):
            return True
    return False


def _texts(value: Any, name: str) -> Iterator[str]:
    """Yield the texts of a field that may repeat others: the contents of its messages, else every text in it.

    An answer at the end of a conversation is left out: it is no context.
    """
    try:
        said = text_or_messages(value, name)
        turns = said if not isinstance(said, str) else open_turns(said, name) if is_dialogue(said) else None
    except RecordError:
        yield from _leaves(value)
        return
    if turns is None:
        yield str(said)
        return
    before = turns[:-1] if len(turns) > 1 and turns[-1]["role"] == "assistant" else turns
    yield from (str(turn["content"]) for turn in before if turn["content"])


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield "\0"  # numbers and bytes are no repetition of anything
