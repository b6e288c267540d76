"""Labelled texts, the input of `reward-detect`: what was said, and whether the feedback to it was positive.

{"text", "feedback"}                 a text, on its own
{"prompt", "text", "feedback"}       after a prompt, which is run but not pooled
{"messages": […], "label"}           a conversation; its last message, the assistant's, is pooled
"""

from dataclasses import dataclass, replace
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import FieldNames, is_empty, lookup, object_of, top_of
from actkit.recipes.conversations.prompts import Conversation, read_answered
from actkit.recipes.label_words import Label
from actkit.recipes.labels import FeedbackFields, Labels, name_of

GROUP_FIELDS = ("group", "question_id")
"""Fields looked for, in this order, when none is given. A weight is read from no field that is not named: `score` is
the grade as often."""


@dataclass(frozen=True)
class Feedback:
    """One labelled text."""

    label: Label
    said: Conversation
    """The text, or the answer that ends a conversation."""
    group: str | None = None
    score: float | None = None


def parse_feedback(value: Any, fields: FeedbackFields, labels: Labels, names: FieldNames | None = None) -> Feedback:
    """The labelled text in one record. Raises RecordError, with the field, for what is missing or no use."""
    object_of(value)
    label, label_fields = labels.of_record(value)
    group_name, score_name = name_of(value, fields.group, GROUP_FIELDS), name_of(value, fields.score, ())
    group = lookup(value, group_name) if group_name else None
    group = None if is_empty(group) else named(group, group_name)  # CSV has empty text where there is none
    score = _score(lookup(value, score_name), score_name) if score_name else None
    said = read_answered(value, names or FieldNames(fields.prompt), fields.text)
    both = next((name for name in label_fields if name in said.read), None)
    if both is not None:
        raise RecordError(both, "read as the text and as its label: --text-field names the text")
    names_used = dict.fromkeys((*label_fields, group_name, score_name))
    used = [name for name in names_used if name is not None and name not in said.read]
    left = tuple(name for name in said.left if name not in {*used, *(top_of(path) for path in used)})
    return Feedback(label, replace(said, read=(*said.read, *used), left=left), group, score)


def named(value: Any, field: str | None) -> str:
    """A group's or a template's name as text; 1.0, which a table with gaps makes of 1, is 1.

    Raises RecordError for one that no table can hold.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        name = str(value)
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError(field, "half a character (a lone surrogate)") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(field, "no name") from error
    return name


def _score(value: Any, field: str | None) -> float | None:
    """A weight: a number, not negative. Text that spells one counts, since CSV has nothing else."""
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError) as error:
        raise RecordError(field, "not a number") from error
    except OverflowError as error:
        raise RecordError(field, "a number that is too large") from error
    if not 0 <= score < float("inf"):
        raise RecordError(field, "a weight must be a number from 0 on")
    return score
