"""Labelled texts, the input of `reward-detect`: what was said, and whether the feedback to it was positive.

{"text", "feedback"}                 a text, on its own
{"prompt", "text", "feedback"}       after a prompt, which is run but not pooled
{"messages": […], "label"}           a conversation; its last message, the assistant's, is pooled
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record
from actkit.pipeline.source import Records, look_ahead
from actkit.recipes.answered import text_in
from actkit.recipes.preferences import Message, parse_messages

Label = Literal["positive", "negative", "neutral"]
TEXT_FIELDS = ("text", "response", "answer", "completion", "comment", "content")
LABEL_FIELDS = ("feedback", "label", "labels", "rating", "sentiment")
GROUP_FIELDS = ("group", "question_id")
SCORE_FIELDS = ("score", "weight")
"""Fields looked for, in this order, when none is given."""
WORDS: Mapping[str, Label] = {
    **dict.fromkeys(("positive", "pos", "true", "1", "+1", "yes", "good"), "positive"),
    **dict.fromkeys(("negative", "neg", "false", "-1", "no", "bad"), "negative"),
    "neutral": "neutral",
}
"""What labels mean when `--positive` and `--negative` are not given; 0 is negative beside 1, neutral beside -1."""
LOOK_AHEAD = 1000


@dataclass(frozen=True)
class FeedbackFields:
    """Which fields hold what; None looks for the usual names."""

    text: str | None = None
    label: str | None = None
    prompt: str = "prompt"
    group: str | None = None
    score: str | None = None
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    """Labels that count as positive and negative; given one of them, no other words do."""


@dataclass(frozen=True)
class Feedback:
    """One labelled text."""

    label: Label
    text: str | None
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    """Instead of text and prompt."""
    group: str | None = None
    score: float | None = None


class Labels:
    """What the labels of one input mean."""

    def __init__(self, fields: FeedbackFields, zero: Label = "negative") -> None:
        self.given = bool(fields.positive or fields.negative)
        self.zero = zero
        self.words: Mapping[str, Label] = {
            **{_word(one): "positive" for one in fields.positive},
            **{_word(one): "negative" for one in fields.negative},
        }
        if not self.given:
            self.words = {**WORDS, "0": zero}

    def of(self, value: Any, field: str) -> Label:
        """The meaning of one label, or of several in a list. Raises RecordError for one that means nothing here."""
        several = value if isinstance(value, (list, tuple)) else [value]
        meant = {self.words[_word(one)] for one in several if _word(one) in self.words}
        if self.zero == "negative" and "-1" in map(_word, several) and not self.given:
            raise InputError(
                f"the field {field} has -1 after 0 and 1, so it is not clear what 0 means",
                "say it: --positive 1 --negative -1",
            )
        if len(meant) > 1:
            raise RecordError(field, "both positive and negative")
        if not meant:
            raise RecordError(field, "missing" if value is None else "neither positive nor negative")
        return meant.pop()


def labels_in(records: Records, fields: FeedbackFields) -> tuple[Labels, Records]:
    """What labels mean, by the first records: whether 0 stands beside 1 or beside -1 too."""
    first, again = look_ahead(records, LOOK_AHEAD)
    seen = set()
    for record in first:
        if isinstance(record, Record) and isinstance(record.value, Mapping):
            name = _name(record.value, fields.label, LABEL_FIELDS)
            seen.add(_word(record.value.get(name)) if name else "")
    return Labels(fields, "neutral" if "-1" in seen else "negative"), again


def parse_feedback(value: Any, fields: FeedbackFields, labels: Labels) -> Feedback:
    """The labelled text in one record. Raises RecordError, with the field, for what is missing or no use."""
    if not isinstance(value, Mapping):
        raise RecordError(None, "not an object with fields")
    name = _name(value, fields.label, LABEL_FIELDS)
    if name is None:
        raise RecordError(fields.label, f"no field {fields.label or ' or '.join(LABEL_FIELDS)}")
    label = labels.of(value.get(name), name)
    group_name, score_name = _name(value, fields.group, GROUP_FIELDS), _name(value, fields.score, SCORE_FIELDS)
    group = value.get(group_name) if group_name else None
    group = None if group is None else named(group, group_name)
    score = _score(value.get(score_name), score_name) if score_name else None
    text_name = _name(value, fields.text, TEXT_FIELDS)
    if text_name is None and isinstance(value.get("messages"), list):
        messages = parse_messages(value["messages"], "messages")
        if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
            raise RecordError("messages", "no assistant's answer at the end")
        return Feedback(label, None, None, messages, group, score)
    if text_name is None:
        raise RecordError(fields.text, f"no field {fields.text or ' or '.join(TEXT_FIELDS)}")
    text = text_in(value[text_name], text_name)
    prompt = value.get(fields.prompt) if fields.prompt != text_name else None
    return Feedback(label, text, text_in(prompt, fields.prompt) if prompt else None, None, group, score)


def named(value: Any, field: str | None) -> str:
    """A group's or a template's name as text. Raises RecordError for one that no table can hold."""
    try:
        name = str(value)
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError(field, "half a character (a lone surrogate)") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(field, "no name") from error
    return name


def _name(value: Mapping[str, Any], given: str | None, usual: Sequence[str]) -> str | None:
    if given is not None:
        return given if given in value else None
    return next((one for one in usual if one in value), None)


def _word(value: Any) -> str:
    """A label as a word: True is true, 1, 1.0 and a decimal 1.00 are 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple, Mapping)):
        return "(several)"
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value).strip().lower()


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
