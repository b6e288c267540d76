"""What a record would be read as, for whoever looks at a file before it is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import FieldNames
from actkit.recipes.conversations.messages import Message
from actkit.recipes.conversations.pairs import PairsSpec, detect, read_pair
from actkit.recipes.conversations.prompts import read_answered, read_prompt


@dataclass(frozen=True)
class Preview:
    """A record as the commands would read it."""

    kind: Literal["pair", "answer", "prompt"]
    shape: str
    """As run.json would call it."""
    sides: Mapping[str, Sequence[Message]]
    """`chosen` and `rejected` of a pair, or the one `conversation`; empty for a text on its own."""
    template: Mapping[str, Any]
    """What goes to the chat template beside the messages."""
    read: Sequence[str]
    left: Sequence[str]
    """The record's fields that would be read, and those that would not."""


def preview_of(
    value: Any, names: FieldNames | None = None, response: str | None = None, text: str | None = None
) -> Preview:
    """A record as a preference pair if it is one, else as an answer, else as a prompt.

    `response` and `text` name the fields of a response and of a labelled text. Raises RecordError where it is nothing.
    """
    own = names or FieldNames()
    if detect(value, own) is not None:
        pair = read_pair(value, PairsSpec(names=own))
        sides = {"chosen": pair.chosen, "rejected": pair.rejected}
        return Preview("pair", pair.shape, sides, pair.template, pair.read, pair.left)
    try:
        found = read_answered(value, own, text)
    except RecordError:
        found = read_prompt(value, own, response)
    kind: Literal["answer", "prompt"] = "answer" if found.answered else "prompt"
    sides = {"conversation": found.messages} if found.messages else {}
    return Preview(kind, found.shape, sides, found.template, found.read, found.left)
