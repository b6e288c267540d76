"""Contrast pairs, the input of `concept`: two texts that differ in one thing, of a built-in concept or of a file.

concepts.json                        a concept's templates, each in two wordings, filled with its stems
{"positive", "negative"}             a pair of texts; after a prompt or other context, two answers to it
{"statement", "label"}               statements; the next true and the next false one make a pair
{"question", "answer_matching_behavior", "answer_not_matching_behavior"}     one prompt, two answers
and under the other names that `contrast_shapes` lists.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actkit.config import ReadSpec
from actkit.errors import InputError, RecordError, UsageError, did_you_mean
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.files import name_of
from actkit.pipeline.input.reader import look_ahead, read_records
from actkit.pipeline.input.records import Records
from actkit.recipes.concepts import Template, concepts, pairs_of
from actkit.recipes.contrast_shapes import STATEMENTS, missing_of, shape_of, side_in, wanted
from actkit.recipes.conversations.context import Context, read_context
from actkit.recipes.conversations.fields import FieldNames, Fields, is_empty, object_of
from actkit.recipes.conversations.named_fields import fields_shown
from actkit.recipes.conversations.names import HISTORY, MESSAGES, PROMPT, QUESTION, SYSTEM
from actkit.recipes.conversations.prompts import Conversation
from actkit.recipes.conversations.unread import check_unused
from actkit.recipes.feedback import named
from actkit.recipes.labels import name_of as field_of
from actkit.recipes.prompt_response import text_in
from actkit.recipes.statements import StatementPair, paired
from actkit.remote.url import publicly

LOOK_AHEAD = 100
STEMS = ("stem", "text", *QUESTION)
"""Fields of a stem, looked for in this order."""


@dataclass(frozen=True)
class Contrast:
    """One pair: two texts, or one prompt with two answers, and the stem that it shares with other pairs."""

    positive: Conversation
    negative: Conversation
    stem: str
    """Pairs of one stem never stand on both sides of a split."""
    template: str | None

    @property
    def texts(self) -> tuple[str, str]:
        """The two texts, or the two answers."""
        return str(self.positive.messages[-1]["content"]), str(self.negative.messages[-1]["content"])

    @property
    def before(self) -> list[dict[str, Any]] | None:
        """The messages that both sides answer, where they are more than a prompt of one text."""
        given = self.positive.plain is None and self.positive.answered
        return [dict(message) for message in self.positive.messages[:-1]] if given else None

    @property
    def prompt(self) -> str | None:
        """The prompt that both sides answer, as text; None for two texts."""
        said = (str(message["content"]) for message in self.positive.messages[:-1])
        return "\n".join(said) if self.positive.answered else None


def contrasts_in(what: str, read: ReadSpec | None = None, names: FieldNames | None = None) -> tuple[str, Records]:
    """Return the form of a built-in concept or of a file, and its records.

    Raises UsageError for neither, with the names of the concepts; InputError for a file of no known form.
    """
    if what.lower() in concepts():
        return "built-in concept", pairs_of(concepts()[what.lower()])
    # Path.exists raises OSError for a text that is too long for a name.
    is_path = "." in what or "/" in what or what == "-" or os.path.exists(what)  # noqa: PTH110
    if not is_path:
        hint = did_you_mean(what.lower(), concepts(), n=1)
        raise UsageError(
            f"no concept {publicly(what)[:200]}", f"{hint}there are {', '.join(concepts())}; or give a file of pairs"
        )
    first, records, _ = look_ahead(read_records(what, "jsonl", read), LOOK_AHEAD)
    values = [record.value for record in first if isinstance(record, Record)]
    shape = next((shape for value in values if (shape := shape_of(value)) is not None), None)
    if shape is None:
        bad = next((f" ({record.place}: {record.reason})" for record in first if isinstance(record, Rejected)), "")
        many = "1 record" if len(first) == 1 else f"{len(first)} records"
        none = f"no contrast pairs in its first {many}{bad}" if first else "the input has no records"
        raise InputError(f"{publicly(name_of(what))}: {none}{_there(values)}", _hint(values))
    return shape.form, paired(records, shape, names) if shape.form == STATEMENTS else records


def _there(values: Sequence[Any]) -> str:
    fields = next((fields_shown(value) for value in values if isinstance(value, Mapping)), None)
    return "" if fields is None else f"; the first record has the fields {fields}"


def _hint(values: Sequence[Any]) -> str:
    if values and all(isinstance(value, str) for value in values):  # RepE's scenarios, repeng's beginnings of answers
        return "texts alone are stems: --stems FILE --positive '… {stem}' --negative '… {stem}' make pairs of them"
    return f"a record has {wanted()}"


def from_stems(template: Template, path: str, read: ReadSpec | None = None) -> Records:
    """Fill one template with the stems of a file, a stem a line or a record."""
    for record in read_records(path, "text", read):
        value = record.value if isinstance(record, Record) else None
        stem = value[name] if isinstance(value, Mapping) and (name := field_of(value, None, STEMS)) else value
        if isinstance(record, Rejected):
            yield record
        elif isinstance(stem, str):
            yield replace(record, value=template.filled(stem))
        else:
            why = f"no text in a field {' or '.join(STEMS)}"
            yield record.rejected(RecordError(None, why))


def parse_contrast(value: Any, names: FieldNames | None = None) -> Contrast:
    """Parse the pair in one record.

    Raises RecordError, with the field, for a side that is missing or empty, equal sides, and context that is not read.
    """
    if isinstance(value, StatementPair):
        sides = value.positive, value.negative
        read, left = value.read, value.left
        both = [Conversation((_user(text),), (text, None), shape=STATEMENTS, read=read, left=left) for text in sides]
        return Contrast(both[0], both[1], "\n".join(sides), None)
    object_of(value)
    fields = Fields(value, names or FieldNames())
    shape = shape_of(value)
    if shape is None:
        raise RecordError(missing_of(value), "missing")
    if shape.form == STATEMENTS:
        raise RecordError(shape.positive, "a statement among pairs: statements belong into a file of their own")
    paths = (shape.positive, shape.negative)
    texts = [side_in(fields.take(path), path, shape.form) for path in paths]
    if texts[0] == texts[1]:
        raise RecordError(paths[1], "both sides are equal")
    if shape.prompt is not None and fields.names.prompt is None:
        text_in(value.get(shape.prompt), shape.prompt)
        fields.names = replace(fields.names, prompt=shape.prompt)
    context = read_context(fields) if _has_context(fields) else Context()
    both = [_side(context, text) for text in texts]
    check_unused(fields, [side.messages for side in both])
    # A pair without a stem has null in a table's column of stems, and empty text in CSV: pairs share no such stem.
    shared = "stem" if shape.stem is None or "stem" in value else shape.stem
    stem, template = (None if is_empty(value.get(name)) else fields.take(name) for name in (shared, "template"))
    own = "\n".join(str(message["content"]) for message in context.messages) or "\n".join(texts)
    said = [replace(side, shape=shape.form, read=tuple(fields.read), left=tuple(fields.left)) for side in both]
    return Contrast(
        said[0],
        said[1],
        named(own if stem is None else stem, "stem"),
        None if template is None else named(template, "template"),
    )


def _has_context(fields: Fields) -> bool:
    return fields.names.prompt is not None or fields.first((*PROMPT, *MESSAGES, *SYSTEM, *HISTORY)) is not None


def _side(context: Context, text: str) -> Conversation:
    """Make one side: an answer to the context of both, or the user's words where there is none."""
    asked = context.messages
    if not context.asked:
        return Conversation((*asked, _user(text)), None if asked else (text, None), None, context.template)
    plain = None if context.plain is None else (context.plain, text)
    return Conversation((*asked, {"role": "assistant", "content": text}), plain, None, context.template)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
