"""Ranks a record's answers by the names of their fields and by their order.

`judged` has verdicts on two answers, and `ranked` has lists with ranks or scores. Each kind finds its fields in a
record (`found`) and gives each answer a rank, lower is better, so that pairs are made of all kinds alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import Fields, lookup
from actkit.recipes.conversations.messages import parse_messages, rows_of, text_of, text_or_messages

SEVERAL = re.compile("answers$", re.IGNORECASE)
"""The end of the name of a field that holds several answers."""
WRITTEN = re.compile(r"""\s*\[\s*['"].*['"]\s*\]\s*""", re.DOTALL)
"""A list of texts, written as text."""


@dataclass(frozen=True)
class Answer:
    """One answer of a record."""

    value: Any
    """Text, messages, or a whole conversation."""
    path: str
    """The path of the answer in the record."""
    rank: float
    """Lower is better."""
    system: tuple[str, str] | None = None
    """The path and text of the system message under which this answer alone was written."""


class Answers(Protocol):
    """A way in which records tell which answer is better."""

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """Groups of paths; a record that `found` accepts has all paths of one group."""

    def found(self, fields: Fields) -> bool:
        """Whether a record tells it in this way."""

    def read(self, fields: Fields) -> list[Answer]:
        """Read the answers. Raises RecordError where an answer is missing, or the record does not rank them."""


@dataclass(frozen=True)
class NamedSides:
    """Two fields whose names tell which holds the better answer."""

    chosen: str
    rejected: str
    others: Sequence[tuple[str, str]] = ()
    """Other names for the two fields."""

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """The two fields, under each of their names."""
        return ((self.chosen, self.rejected), *self.others)

    def found(self, fields: Fields) -> bool:
        """Whether both fields are there."""
        return all(fields.has(path) for path in self.names_in(fields))

    def names_in(self, fields: Fields) -> tuple[str, str]:
        """Return the two names that a record has."""
        own = (self.chosen, self.rejected)
        return next((two for two in (own, *self.others) if all(map(fields.has, two))), own)

    def read(self, fields: Fields) -> list[Answer]:
        """Read both answers, or all answers of each field if it is a list of texts (RewardBench 2)."""
        answers = []
        for rank, path in enumerate(self.names_in(fields)):
            value = fields.take(path)
            value = listed_in(value, path) if SEVERAL.search(path) else value
            if value in (None, "", [], {}):
                is_there = path in fields.value or lookup(fields.value, path) is not None
                raise RecordError(path, "empty" if is_there else "missing")
            several = isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
            texts = [(f"{path}[{at}]", text) for at, text in enumerate(value)] if several else [(path, value)]
            answers += [Answer(text, place, rank) for place, text in texts]
        return answers


@dataclass(frozen=True)
class LastOf:
    """Messages that end with the better answer, and a field with the worse one (ms-swift)."""

    messages: str
    rejected: str

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """Both fields."""
        return ((self.messages, self.rejected),)

    def found(self, fields: Fields) -> bool:
        """Whether both fields are there."""
        return fields.has(self.messages) and fields.has(self.rejected)

    def read(self, fields: Fields) -> list[Answer]:
        """Read the whole conversation, and the worse answer, which replaces its last message."""
        whole = parse_messages(fields.take(self.messages), self.messages)
        given = fields.take(self.rejected)
        several = isinstance(given, list) and all(isinstance(text, str) for text in given)
        found = [Answer(whole, self.messages, 0)]
        for value in given if several else [given]:
            other = text_or_messages(value, self.rejected)
            said = ({"role": "assistant", "content": other},) if isinstance(other, str) else other
            own = (*whole[:-1], *said) if said[0]["role"] == "assistant" else said
            found.append(Answer(own, self.rejected, 1))
        return found


@dataclass(frozen=True)
class InOrder:
    """A list of answers, the best one first (LLaMA-Factory's older ranking files)."""

    answers: str

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """The field of the list."""
        return ((self.answers,),)

    def found(self, fields: Fields) -> bool:
        """Whether the field is a list of at least two texts."""
        value = fields.value.get(self.answers)
        return isinstance(value, (list, tuple)) and len(value) > 1 and all(isinstance(text, str) for text in value)

    def read(self, fields: Fields) -> list[Answer]:
        """Read all answers."""
        return [Answer(answer, f"{self.answers}[{at}]", at) for at, answer in enumerate(fields.take(self.answers))]


def texts_of(value: Any, path: str) -> list[str]:
    """Return the texts of a list, of JSON text of a list, or of one text alone."""
    found = rows_of(value, path) if is_list(value) else [value]
    return [text_of("" if value is None else value, path) for value in found]


def is_list(value: Any) -> bool:
    """Whether a value is a list, or a text that may be JSON of one."""
    return isinstance(value, (list, tuple)) or (isinstance(value, str) and value.lstrip().startswith("["))


def listed_in(value: Any, path: str) -> Any:
    """Parse a list that a table holds as text: JSON, or for answers, as in TruthfulQA.csv, texts between semicolons.

    Any other value is returned unchanged. Raises RecordError for a list that Python printed.
    """
    if isinstance(value, str) and WRITTEN.fullmatch(value):
        return texts_of(value, path)
    if isinstance(value, str) and SEVERAL.search(path):
        return [text.strip() for text in value.split(";") if text.strip()]
    return value
