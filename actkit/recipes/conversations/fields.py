"""`Fields` looks up a record's fields by dotted paths. It remembers which were read, and a run reports them."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from actkit.errors import RecordError
from actkit.pipeline.input.field_names import are_messages, is_message
from actkit.recipes.conversations.messages import WRAPPED, is_turn, kind_of
from actkit.recipes.conversations.names import CONTEXT, LISTED, MESSAGES, OF_TEMPLATE, QUESTION, SPELT, plain

Which = Literal["best-worst", "adjacent", "all"]
INDEX = re.compile(r"\[(-?\d+)\]")
"""An index into a list, as jq and Python write it."""


@dataclass(frozen=True)
class ContextFields:
    """Options that name further fields besides the prompt; None looks for the usual names."""

    system_field: str | None = None
    history_field: str | None = None
    ignore_field: tuple[str, ...] = ()
    """Fields with context that the user leaves out on purpose."""


@dataclass(frozen=True)
class PairFields:
    """Options that name the fields of two answers, and the field that tells which is better."""

    chosen_field: str | None = None
    rejected_field: str | None = None
    preference_field: str | None = None
    """Field that tells which of two answers is better, or that scores each answer in a list."""
    first_is_better: tuple[str, ...] = ()
    """Values of that field for which the first answer is better; any other means the second, except a tie."""
    make_pairs: Which = "best-worst"
    """Pairs made of more than two answers: best and worst, each and the next worse, or all that differ in rank."""


@dataclass(frozen=True)
class FieldNames:
    """Fields that a user names, as dotted paths (`chosen.content`, `answers.0.text`); None takes the usual names."""

    prompt: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    system: str | None = None
    history: str | None = None
    preference: str | None = None
    first_is_better: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def given(self) -> list[str]:
        """Return the named paths, each of which must be in some record."""
        own = (self.prompt, self.chosen, self.rejected, self.system, self.history, self.preference)
        return [path for path in own if path is not None]


def names_of(prompt: str | None, context: ContextFields, answers: PairFields | None = None) -> FieldNames:
    """Make the names of the fields that a command's options name."""
    two = answers or PairFields()
    return FieldNames(
        prompt,
        two.chosen_field,
        two.rejected_field,
        context.system_field,
        context.history_field,
        two.preference_field,
        two.first_is_better,
        context.ignore_field,
    )


@dataclass
class Fields:
    """One record, with a list of its fields that have been read."""

    value: Mapping[str, Any]
    names: FieldNames = field(default_factory=FieldNames)
    read: dict[str, None] = field(default_factory=dict)
    """Paths that were read, in order."""
    repeated: dict[str, None] = field(default_factory=dict)
    """Fields that repeat the content of read fields."""
    partly: dict[str, None] = field(default_factory=dict)
    """Unread parts of read fields: `answers without score`."""

    def has(self, path: str) -> bool:
        """Whether the field exists, is not ignored, and holds something."""
        # Most of the two hundred fields looked for are in no record: this cheap check comes first.
        if beginning(path) not in self.beginnings:
            return False
        value = lookup(self.value, path)
        return value is not None and not self.ignored(path) and not self._says_nothing(path, value)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """The names of the record's fields, each up to its first dot or bracket."""
        return frozenset(beginning(name) for name in self.value if isinstance(name, str))

    def take(self, path: str) -> Any:
        """Return a field's value and remember the field as read, unless it is empty; None for a missing field."""
        found = None if self.ignored(path) else lookup(self.value, path)
        if not self._says_nothing(path, found):
            self.read[path] = None
        return found

    def _says_nothing(self, path: str, value: Any) -> bool:
        return is_empty(value, listed=path.rpartition(".")[2] in LISTED)

    def ignored(self, path: str) -> bool:
        """Whether the user leaves out a field, or a field that contains it, on purpose."""
        if not self.names.ignore:
            return False
        parts = path.split(".")
        return any(".".join(parts[: end + 1]) in self.names.ignore for end in range(len(parts)))

    def first(self, paths: Sequence[str]) -> str | None:
        """Return the first of some fields that holds something; None if none does."""
        return next((path for path in possible(tuple(paths), self.beginnings) if self.has(path)), None)

    def messages(self) -> str | None:
        """Return the field of a conversation: one with a usual name, or the only field that holds messages."""
        usual = self.first(MESSAGES)
        if usual is not None:
            return usual
        taken = {*self.read, *self.repeated}
        found = [name for name, value in self.value.items() if are_messages(value) and name not in taken]
        return found[0] if len(found) == 1 and not self.ignored(found[0]) else None

    @property
    def left(self) -> list[str]:
        """Fields of the record that hold something and were not read, and unread parts of read ones."""
        seen = {top_of(path) for path in (*self.read, *self.repeated)} | {*self.read, *self.repeated}
        whole = [name for name, value in self.value.items() if name not in seen and not self._says_nothing(name, value)]
        return [*whole, *self.partly]

    def unused_context(self) -> Iterator[str]:
        """Yield the fields known to carry context that hold something and were neither read nor ignored on purpose."""
        seen = {*self.read, *self.repeated, *(top_of(path) for path in self.read)}
        if self.names.prompt is not None:  # the user named the question
            seen |= {*QUESTION}
        yield from (name for name in possible(CONTEXT, self.beginnings) if name not in seen and self.has(name))
        for name in self.value:  # the same in another spelling
            usual = SPELT.get(plain(name)) if isinstance(name, str) else None
            if usual not in (None, name) and not {usual, name} & seen and self.has(name):
                yield name
        yield from self._beside_what_was_read(seen)

    def _beside_what_was_read(self, seen: Collection[str]) -> Iterator[str]:
        """Yield context in objects that hold read fields: a system message next to the messages of a request."""
        for parent in dict.fromkeys(prefix for path in self.read for prefix in prefixes_of(path)):
            held = lookup(self.value, parent)
            if parent in OF_TEMPLATE or not isinstance(held, Mapping) or is_message(held):
                continue
            inner = {f"{parent}.{name}": SPELT.get(plain(name)) for name in held if isinstance(name, str)}
            listed = next((name for name in WRAPPED if name in held), None) if parent in self.read else None
            asked = self.names.prompt is not None and self.names.prompt.startswith(f"{parent}.")
            for path, usual in inner.items():
                known = path in seen or path == f"{parent}.{listed}" or (asked and usual in QUESTION)
                known = known or any(other.startswith(f"{path}.") for other in self.read)
                if usual is not None and not known and self.has(path):
                    yield path


def prefixes_of(path: str) -> list[str]:
    """Return the paths of the objects that contain a path, outermost first, and the path itself."""
    parts = INDEX.sub(r".\1", path).split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


@lru_cache(maxsize=1 << 12)
def beginning(path: str) -> str:
    """Return a path, or a field's name, up to its first dot or bracket."""
    return path.partition(".")[0].partition("[")[0]


@lru_cache(maxsize=1 << 12)
def possible(paths: tuple[str, ...], beginnings: frozenset[str]) -> tuple[str, ...]:
    """Return the paths that a record with these `beginnings` may have; cached, since records of a file are alike."""
    return tuple(path for path in paths if beginning(path) in beginnings)


def lookup(value: Any, path: str) -> Any:
    """Return the value at a path, `answers.0.text` or `answers[0].text`; None where there is none.

    Keys that themselves contain dots or brackets are found too.
    """
    found = _at(value, path)
    return _at(value, INDEX.sub(r".\1", path)) if found is None and "[" in path else found


def top_of(path: str) -> str:
    """Return the record's own field with which a path begins."""
    return INDEX.sub(r".\1", path).partition(".")[0]


def _at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        if path in value:
            return value[path]
        head, dot, rest = path.partition(".")
        while dot:
            if head in value:
                return _at(value[head], rest)
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"
        return None
    if isinstance(value, (list, tuple)):
        head, _, rest = path.partition(".")
        if not head.lstrip("-").isdigit() or not -len(value) <= int(head) < len(value):
            return None
        return _at(value[int(head)], rest) if rest else value[int(head)]
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # a column of objects in CSV
        try:
            return _at(json.loads(value), path)
        except (ValueError, RecursionError):
            return None
    return None


def is_empty(value: Any, listed: bool = False) -> bool:
    """Whether a field holds nothing: null, NaN (a gap in a table), white space, an empty list or object.

    In a `listed` field, which holds messages, tools or the like, JSON of nothing is nothing too. In a prompt or an
    answer, `null` and `[]` are texts like others.
    """
    if isinstance(value, str):
        return value.strip() in (("", "[]", "{}", "null") if listed else ("",))
    return value is None or value in ([], (), {}) or (isinstance(value, float) and value != value)


def object_of(value: Any) -> Mapping[str, Any]:
    """Return a record's fields; a list of messages becomes a conversation. Raises RecordError for any other value."""
    if isinstance(value, list) and value and all(map(is_turn, value)):
        return {MESSAGES[0]: value}
    if not isinstance(value, Mapping):
        raise RecordError(None, f"not an object but {kind_of(value)}")
    return value
