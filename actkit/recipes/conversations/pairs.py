"""Read preference pairs: make, of a record of any known shape, two whole conversations that each end with an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from actkit.errors import RecordError, UsageError
from actkit.pipeline.input.field_names import WHO
from actkit.recipes.conversations.answers import Answer, NamedSides
from actkit.recipes.conversations.context import Context
from actkit.recipes.conversations.dialogues import is_dialogue, turns_in
from actkit.recipes.conversations.fields import FieldNames, Fields, Which, object_of
from actkit.recipes.conversations.messages import WRAPPED, Message, text_or_messages
from actkit.recipes.conversations.names import HISTORY, MESSAGES, PROMPT, SYSTEM
from actkit.recipes.conversations.shape import OBJECT_TEXT, Shape
from actkit.recipes.conversations.shapes import BY_NAME, judged_so, shape_of
from actkit.recipes.conversations.unread import check_unused, stands_in
from actkit.recipes.conversations.verdicts import contrary_scores
from actkit.runs.progress import CONTRARY


@dataclass(frozen=True)
class Pair:
    """Two conversations that each end with an assistant's message."""

    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    plain: tuple[str, str, str] | None = None
    """Prompt and both answers, if they were given as texts; without a chat template they are joined unchanged."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the chat template besides the messages."""
    whole: bool = False
    """Whether the answers were given as conversations, each with its question."""
    shape: str = ""
    read: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """The record's fields that were read, and those that were not."""
    contrary: tuple[str, ...] = ()
    """Scores of the two answers by which the rejected one is better."""

    def plain_of(self, side: int) -> tuple[str, str] | None:
        """Return prompt and answer of one side (0 is chosen) if they were given as texts; see `plain`."""
        return None if self.plain is None else (self.plain[0], self.plain[1 + side])

    @property
    def said(self) -> dict[str, tuple[str, ...]]:
        """The facts of this pair that a run counts."""
        said = {"shapes": (self.shape,), "fields_read": self.read, "fields_left": self.left}
        return said | ({CONTRARY: self.contrary} if self.contrary else {})


@dataclass(frozen=True)
class PairsSpec:
    """Settings for reading the pairs of a file."""

    form: str | None = None
    """The name of a shape; None detects the shape of each record."""
    names: FieldNames = field(default_factory=FieldNames)
    which: Which = "best-worst"


@dataclass(frozen=True)
class PairOf:
    """One pair of a record that has several, by its number."""

    value: Any
    number: int


def check_form(form: str | None) -> None:
    """Raise UsageError for a name that no shape has."""
    if form is not None and form not in BY_NAME:
        raise UsageError(f"--input-format {form}: no such shape", f"there are {', '.join(BY_NAME)}")


def detect(value: Any, names: FieldNames | None = None) -> str | None:
    """Return the name of a record's shape; None for no preference pair, "ambiguous" for one with two readings."""
    if not isinstance(value, Mapping):
        return None
    try:
        shape = shape_of(Fields(value, names or FieldNames()))
    except RecordError as error:
        return "ambiguous" if error.field is None else None
    return None if shape is None else shape.name


def shape_or_none(fields: Fields) -> Shape | None:
    """Return the shape of a record; None if it has none, or can be read in two ways."""
    try:
        return shape_of(fields)
    except RecordError:
        return None


def read_pair(value: Any, spec: PairsSpec) -> Pair:
    """Read the pair in one record. Raises RecordError, with the field, for a missing or empty part or a wrong type."""
    number = value.number if isinstance(value, PairOf) else 0
    fields = Fields(object_of(value.value if isinstance(value, PairOf) else value), spec.names)
    shape = shape_in(fields, spec.form)
    answers = shape.answers.read(fields)
    better, worse = chosen_of(answers, spec.which)[number]
    said = [_said(answer, shape.name == "hh") for answer in (better, worse)]
    whole = all(not isinstance(text, str) and text[0]["role"] in ("system", "user") for text in said)
    context = shape.context_of(fields, listed=not whole)
    sides = [with_answer(context, text, answer) for text, answer in zip(said, (better, worse), strict=True)]
    for messages, answer in zip(sides, (better, worse), strict=True):
        _check_end(messages, answer.path)
    if sides[0] == sides[1]:
        raise RecordError(worse.path, f"{' and '.join(sorted((better.path, worse.path)))} are equal")
    check_unused(fields, sides)
    plain = None
    if context.plain is not None and all(isinstance(text, str) for text in said) and shape.name != "instruction":
        # An empty field for earlier messages counts too: all records of the file are then rendered alike.
        has_turns = any(name in fields.value and not fields.ignored(name) for name in (*SYSTEM, *HISTORY))
        has_turns = has_turns or bool(better.system or worse.system)
        plain = None if has_turns else (context.plain, f"{context.begun}{said[0]}", f"{context.begun}{said[1]}")
    read, left = tuple(fields.read), tuple(fields.left)
    contrary = contrary_scores(fields.value, better, worse)
    return Pair(sides[0], sides[1], plain, context.template, whole, shape.name, read, left, contrary)


def shape_in(fields: Fields, form: str | None) -> Shape:
    """Return a record's shape, or the shape `form`. Raises RecordError where the record has none, or not that one."""
    if form is not None:
        shape = BY_NAME[form]
        if shape.needs and fields.first(shape.needs) is None:
            there = next((name for name in shape.needs if name in fields.value), None)
            raise RecordError(there or shape.needs[0], "empty" if there else "missing")
        if not isinstance(shape.answers, NamedSides) and not shape.answers.found(fields):
            raise RecordError(None, f"not of the shape {form}: {shape.record}")
        return judged_so(shape, fields)
    found = shape_of(fields)
    if found is None:
        raise why_no_pair(fields)
    return found


def why_no_pair(fields: Fields) -> RecordError:
    """Make the error for a record that is no pair: it lacks a side, or a prompt."""
    sides = (fields.names.chosen or "chosen", fields.names.rejected or "rejected")
    there = [path for path in sides if fields.has(path)]
    if len(there) == 2:
        empty = fields.names.prompt or next((name for name in (*PROMPT, *MESSAGES) if name in fields.value), None)
        if empty is not None and empty in fields.value:
            return RecordError(empty, "empty")
        return RecordError(
            "prompt", f"no prompt: {' and '.join(sides)} are texts without turns; --prompt-field names what they answer"
        )
    known = [path for path in sides if path in fields.value]
    if there or known:
        side = next(path for path in sides if path not in there)
        return RecordError(side, "empty" if side in fields.value else "missing")
    return RecordError(
        None, "no preference pair of a known shape; --chosen-field and --rejected-field name the answers"
    )


def chosen_of(answers: Sequence[Answer], which: Which) -> list[tuple[Answer, Answer]]:
    """Make pairs, better and worse, of a record's answers. Raises RecordError where no answer is better."""
    ordered = sorted(answers, key=lambda answer: answer.rank)
    if len(ordered) < 2:
        raise RecordError(
            ordered[0].path if ordered else None,
            f"{'one ranked answer makes' if ordered else 'no ranked answers make'} no pair",
        )
    if which == "best-worst":
        found = [(ordered[0], next(answer for answer in ordered if answer.rank == ordered[-1].rank))]
    elif which == "adjacent":
        found = list(pairwise(ordered))
    else:
        found = [(first, other) for at, first in enumerate(ordered) for other in ordered[at + 1 :]]
    found = [(better, worse) for better, worse in found if better.rank < worse.rank]
    if not found:
        raise RecordError(ordered[0].path, "a tie: no answer is better")
    return found


def _said(answer: Answer, has_turns: bool) -> str | tuple[Message, ...]:
    value = answer.value
    alone = None
    if isinstance(value, Mapping) and not any(name in value for name in (*WHO, *WRAPPED)):
        alone = next((name for name in OBJECT_TEXT if isinstance(value.get(name), str)), None)
    said = text_or_messages(value if alone is None else value[alone], answer.path)
    if isinstance(said, str):
        return tuple(turns_in(said, answer.path)) if has_turns or is_dialogue(said) else said
    if not any(message["role"] == "assistant" for message in said):
        raise RecordError(answer.path, "no assistant message")
    return said


def with_answer(context: Context, said: str | tuple[Message, ...], answer: Answer) -> tuple[Message, ...]:
    """Return the conversation that ends with an answer; an answer that repeats the question is the conversation.

    Raises RecordError where such an answer lacks a part of the question, where the question ends with the assistant's
    own words, which the answer may continue or follow, and where system messages differ.
    """
    asked = context.asked
    repeats = not isinstance(said, str) and bool(asked) and said[: len(asked)] == asked
    if asked and asked[-1]["role"] == "assistant" and not repeats and not context.begun:
        if str(asked[-1]["content"]).strip() and (isinstance(said, str) or said[0]["role"] == "assistant"):
            raise RecordError(
                answer.path,
                "the prompt ends with the assistant's words, and that the answer goes on with them is not sure",
            )
        asked = asked if str(asked[-1]["content"]).strip() else asked[:-1]
    if isinstance(said, str):
        text = said[1:] if context.after_colon and said.startswith(" ") else said
        found: tuple[Message, ...] = (*asked, {"role": "assistant", "content": context.begun + text})
    elif said[0]["role"] in ("system", "user") or repeats:
        if not _repeats(asked, said):
            begins = f"begins with a {said[0]['role']} message, but not all of the prompt is in it"
            raise RecordError(answer.path, f"{begins}: what comes first is not clear")
        found = said
    else:
        found = (*asked, *said)
    systems = [] if context.system is None else [("system", context.system)]
    systems += [] if answer.system is None else [answer.system]
    for place, system in systems:
        if found[0]["role"] != "system":
            found = ({"role": "system", "content": system}, *found)
        elif str(found[0]["content"]).strip() != system.strip():
            raise RecordError(place, "another system message than the conversation's own")
    return found


def _repeats(before: Sequence[Message], whole: Sequence[Message]) -> bool:
    """Whether a conversation contains every message of the prompt, alone or within longer text."""
    said = [str(message["content"]) for message in whole[:-1]]
    joined = " ".join(" ".join(said).split())
    return all(
        stands_in(str(message["content"]), said) or " ".join(str(message["content"]).split()) == joined
        for message in before
    )


def _check_end(messages: Sequence[Message], side: str) -> None:
    if not any(message["role"] == "assistant" for message in messages):
        raise RecordError(side, "no assistant message")
    if messages[-1]["role"] != "assistant":
        raise RecordError(side, f"ends with a {messages[-1]['role']} message, not the assistant's")
    if messages[-1].get("tool_calls"):
        raise RecordError(side, "the answer calls a tool; answers that are text are read")
    if not messages[-1]["content"].strip():
        raise RecordError(side, "the assistant's answer is empty")
    if len(messages) == 1:
        raise RecordError(side, "no prompt before the answer")
