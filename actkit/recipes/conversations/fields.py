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
"""A place in a list as jq and Python write it."""


@dataclass(frozen=True)
class ContextFields:
    """Options that name the fields beside a prompt; None looks for the usual names."""

    system_field: str | None = None
    history_field: str | None = None
    ignore_field: tuple[str, ...] = ()
    """Fields that carry context and are left out on purpose."""


@dataclass(frozen=True)
class PairFields:
    """Options that name the fields of two answers, and of the one that says which is better."""

    chosen_field: str | None = None
    rejected_field: str | None = None
    preference_field: str | None = None
    """Field that says which of two answers is better, or that scores each in a list."""
    first_is_better: tuple[str, ...] = ()
    """Values of that field with which the first answer is better; any other says the second."""
    make_pairs: Which = "best-worst"
    """Of more than two answers: the best and the worst, each and the next worse one, or all that differ in rank."""


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
        """The paths that were named and must be in some record."""
        own = (self.prompt, self.chosen, self.rejected, self.system, self.history, self.preference)
        return [path for path in own if path is not None]


def names_of(prompt: str | None, context: ContextFields, answers: PairFields | None = None) -> FieldNames:
    """The fields that a command was asked to read."""
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
    """One record, and which of its fields have been read."""

    value: Mapping[str, Any]
    names: FieldNames = field(default_factory=FieldNames)
    read: dict[str, None] = field(default_factory=dict)
    """Paths that were read, in order."""
    repeated: dict[str, None] = field(default_factory=dict)
    """Fields that repeat what was read."""
    partly: dict[str, None] = field(default_factory=dict)
    """Parts that were left of fields that were read: `answers without score`."""

    def has(self, path: str) -> bool:
        """Whether there is such a field and it holds something."""
        # Most of the two hundred fields that are looked for in a record are not there: that is seen first.
        if beginning(path) not in self.beginnings:
            return False
        value = lookup(self.value, path)
        return value is not None and not self.ignored(path) and not self._says_nothing(path, value)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """The first part of every path to a field of the record, up to a dot or a bracket."""
        return frozenset(beginning(name) for name in self.value if isinstance(name, str))

    def take(self, path: str) -> Any:
        """The value of a field, None where it is not there; remembered as read unless it is empty."""
        found = None if self.ignored(path) else lookup(self.value, path)
        if not self._says_nothing(path, found):
            self.read[path] = None
        return found

    def _says_nothing(self, path: str, value: Any) -> bool:
        return is_empty(value, listed=path.rpartition(".")[2] in LISTED)

    def ignored(self, path: str) -> bool:
        """Whether a field, or one that it lies in, is left out on purpose."""
        if not self.names.ignore:
            return False
        parts = path.split(".")
        return any(".".join(parts[: end + 1]) in self.names.ignore for end in range(len(parts)))

    def first(self, paths: Sequence[str]) -> str | None:
        """The first of some fields that holds something."""
        return next((path for path in possible(tuple(paths), self.beginnings) if self.has(path)), None)

    def messages(self) -> str | None:
        """The field of a conversation: one of the usual names, or the only one that holds messages, whatever it is."""
        usual = self.first(MESSAGES)
        if usual is not None:
            return usual
        taken = {*self.read, *self.repeated}
        found = [name for name, value in self.value.items() if are_messages(value) and name not in taken]
        return found[0] if len(found) == 1 and not self.ignored(found[0]) else None

    @property
    def left(self) -> list[str]:
        """Fields of the record that hold something and were not read."""
        seen = {top_of(path) for path in (*self.read, *self.repeated)} | {*self.read, *self.repeated}
        whole = [name for name, value in self.value.items() if name not in seen and not self._says_nothing(name, value)]
        return [*whole, *self.partly]

    def unused_context(self) -> Iterator[str]:
        """Fields known to carry context that hold something, and were neither read nor left out on purpose."""
        seen = {*self.read, *self.repeated, *(top_of(path) for path in self.read)}
        if self.names.prompt is not None:  # it was said which of them is the question
            seen |= {*QUESTION}
        yield from (name for name in possible(CONTEXT, self.beginnings) if name not in seen and self.has(name))
        for name in self.value:  # the same in another spelling
            usual = SPELT.get(plain(name)) if isinstance(name, str) else None
            if usual not in (None, name) and not {usual, name} & seen and self.has(name):
                yield name
        yield from self._beside_what_was_read(seen)

    def _beside_what_was_read(self, seen: Collection[str]) -> Iterator[str]:
        """Context within the objects that hold what was read: a system message beside messages in one request."""
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
    """The objects that a path lies in, outermost first, and the path."""
    parts = INDEX.sub(r".\1", path).split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


@lru_cache(maxsize=1 << 12)
def beginning(path: str) -> str:
    """A path, or a field's name, up to its first dot or bracket."""
    return path.partition(".")[0].partition("[")[0]


@lru_cache(maxsize=1 << 12)
def possible(paths: tuple[str, ...], beginnings: frozenset[str]) -> tuple[str, ...]:
    """Those of some paths that a record may have: records of one file begin alike."""
    return tuple(path for path in paths if beginning(path) in beginnings)


def lookup(value: Any, path: str) -> Any:
    """The value at a path, `answers.0.text` or `answers[0].text`; None where there is none.

    A key that has dots or brackets in it is found as it is.
    """
    found = _at(value, path)
    return _at(value, INDEX.sub(r".\1", path)) if found is None and "[" in path else found


def top_of(path: str) -> str:
    """The record's own field that a path begins with."""
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
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # a column of objects, as CSV has it
        try:
            return _at(json.loads(value), path)
        except (ValueError, RecursionError):
            return None
    return None


def is_empty(value: Any, listed: bool = False) -> bool:
    """Whether a field holds nothing: null, a number that is none (a gap in a table), no text, no list.

    Of a field that is `listed`, which holds messages, tools or the like, JSON of nothing is nothing too; as a prompt or
    an answer, `null` and `[]` are texts like others.
    """
    if isinstance(value, str):
        return value.strip() in (("", "[]", "{}", "null") if listed else ("",))
    return value is None or value in ([], (), {}) or (isinstance(value, float) and value != value)


def object_of(value: Any) -> Mapping[str, Any]:
    """A record's fields; a list of messages is a conversation. Raises RecordError for a record that has none."""
    if isinstance(value, list) and value and all(map(is_turn, value)):
        return {MESSAGES[0]: value}
    if not isinstance(value, Mapping):
        raise RecordError(None, f"not an object but {kind_of(value)}")
    return value
