"""Statements, true and false, made into contrast pairs."""

import itertools
from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from actkit.errors import ActkitError, InputError, RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.records import Records
from actkit.recipes.contrast_shapes import ContrastShape
from actkit.recipes.conversations.fields import FieldNames, Fields, object_of
from actkit.recipes.conversations.unread import check_unused
from actkit.recipes.labels import FeedbackFields, Labels, labels_in
from actkit.recipes.prompt_response import text_in

Failure = TypeVar("Failure", bound=ActkitError)
HINT = "a statement's label is true or false, 1 or 0, 1 or -1"


@dataclass(frozen=True)
class StatementPair:
    """A true statement and a false one."""

    positive: str
    negative: str
    left: tuple[str, ...]
    """Unread fields of the earlier of the two records."""
    read: tuple[str, ...] = ("statement", "label")
    """The fields of a statement and its label."""


def paired(records: Records, shape: ContrastShape, names: FieldNames | None = None) -> Records:
    """Pair each true statement with the next false one, in order; a statement left over is rejected.

    Raises InputError where labels are grades or numbers of classes, in which 1 need not mean true.
    """
    try:
        labels, again = labels_in(records, FeedbackFields(label=shape.negative))
    except InputError as error:
        raise explained(error) from error
    return _pairs(labels, again, shape, names or FieldNames())


def explained(error: Failure, place: str = "") -> Failure:
    """Return an error about labels with a hint that fits here, where no option names them; any other as it is."""
    return type(error)(f"{place}{error.message}", HINT) if "--positive" in error.hint else error


def _pairs(labels: Labels, records: Records, shape: ContrastShape, names: FieldNames) -> Records:
    waiting: dict[str, deque[Record]] = {"positive": deque(), "negative": deque()}
    numbers = itertools.count()
    with closing(records):  # the file is closed where a label ends the run
        for record in records:
            found = record if isinstance(record, Rejected) else _labelled(record, labels, shape, names)
            if isinstance(found, Rejected):
                yield replace(found, record_id=next(numbers))
                continue
            side, own = found
            other = "negative" if side == "positive" else "positive"
            if not waiting[other]:
                waiting[side].append(own)
                continue
            match = waiting[other].popleft()
            texts = {side: own.value[0], other: match.value[0]}
            read = (shape.positive, shape.negative)
            yield replace(match, record_id=next(numbers), value=StatementPair(**texts, left=match.value[1], read=read))
    for left in (*waiting["positive"], *waiting["negative"]):
        reason = "no statement of the other label is left for it"
        yield replace(left, record_id=next(numbers)).rejected(RecordError(shape.negative, reason))


def _labelled(record: Record, labels: Labels, shape: ContrastShape, names: FieldNames) -> tuple[str, Record] | Rejected:
    try:
        object_of(record.value)
        side = labels.of(record.value.get(shape.negative), shape.negative)
        if side == "neutral":
            raise RecordError(shape.negative, "neither positive nor negative", "neutral")
        fields = Fields(record.value, names)
        text = text_in(fields.take(shape.positive), shape.positive)
        fields.take(shape.negative)
        check_unused(fields, [[{"role": "user", "content": text}]])
        return side, replace(record, value=(text, tuple(fields.left)))
    except RecordError as error:
        return record.rejected(error)
    except InputError as error:
        place = record.source if record.line is None else f"{record.source}:{record.line}"
        raise explained(error, f"{place}: ") from error
