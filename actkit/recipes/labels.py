"""What the labels of feedback mean: words, numbers of two or three signs, or labels that a user names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Record
from actkit.pipeline.input.reader import Records, look_ahead

Label = Literal["positive", "negative", "neutral"]
LABEL_FIELDS = ("feedback", "label", "labels", "rating", "sentiment")
"""Fields looked for, in this order, when none is given."""
WORDS: Mapping[str, Label] = {
    **dict.fromkeys(("positive", "pos", "true", "1", "+1", "yes", "good"), "positive"),
    **dict.fromkeys(("negative", "neg", "false", "-1", "no", "bad"), "negative"),
    "neutral": "neutral",
}
"""What labels mean when `--positive` and `--negative` are not given; 0 is negative beside 1, neutral beside -1."""
LOOK_AHEAD = 1000
MOST_SHOWN = 10
SIGNS = frozenset(("1", "+1", "0", "-1"))
NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d+)?")
WHOLE = re.compile(r"([+-]?\d+)\.0*")
"""A whole number that is written as a decimal."""


@dataclass(frozen=True)
class FeedbackFields:
    """Which fields hold what; None looks for the usual names."""

    text: str | None = field(default=None, metadata={"option": "text_field"})
    label: str | None = field(default=None, metadata={"option": "label_field"})
    prompt: str | None = field(default=None, metadata={"option": "prompt_field"})
    group: str | None = field(default=None, metadata={"option": "group_field"})
    score: str | None = field(default=None, metadata={"option": "score_field"})
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    """Labels that count as positive and negative; given one of them, no other words do."""


class Labels:
    """What the labels of one input mean."""

    def __init__(self, fields: FeedbackFields, zero: Label = "negative", has_one: bool = False) -> None:
        self.given = bool(fields.positive or fields.negative)
        self.zero = zero
        self.has_one = has_one
        """Whether the input is known to have the numbers 0, 1 or -1, so that any other number is refused."""
        self.words: Mapping[str, Label] = {
            **{_word(one): "positive" for one in fields.positive},
            **{_word(one): "negative" for one in fields.negative},
        }
        if not self.given:
            self.words = {**WORDS, "0": zero}

    def of(self, value: Any, field: str) -> Label:
        """The meaning of one label, or of several in a list.

        Raises RecordError for one that means nothing here, InputError for one that makes those before it doubtful.
        """
        several = _words(value)
        meant = {self.words[one] for one in several if one in self.words}
        if self.has_one and not self.given:
            _check_signs(several, several, field)
        if self.zero == "negative" and "-1" in several and not self.given:
            raise InputError(
                f"the field {field} has -1 after 0 and 1, so it is not clear what 0 means",
                "say it: --positive 1 --negative -1",
            )
        if len(meant) > 1:
            raise RecordError(field, "both positive and negative")
        if not meant:
            raise RecordError(field, "missing" if value is None else "neither positive nor negative")
        return meant.pop()


def check_labels(fields: FeedbackFields) -> None:
    """Raise UsageError when a label is said to be both positive and negative, or only one of them is said."""
    if bool(fields.positive) != bool(fields.negative):
        raise UsageError("--positive and --negative belong together", "name labels of both")
    both = set(map(_word, fields.positive)) & set(map(_word, fields.negative))
    if both:
        raise UsageError(f"{sorted(both)[0]} is given as positive and as negative", "it can be one of them")


def labels_in(records: Records, fields: FeedbackFields, refuse_grades: bool = False) -> tuple[Labels, Records]:
    """What labels mean, by the first records: whether 0 stands beside 1 or beside -1 too.

    With `refuse_grades`, raises InputError where they are grades or numbers of classes, of which 1 need not be the
    positive one: for input whose labels can be named instead.
    """
    first, again = look_ahead(records, LOOK_AHEAD)
    seen: dict[str, str] = {}
    for record in first:
        if isinstance(record, Record) and isinstance(record.value, Mapping):
            name = name_of(record.value, fields.label, LABEL_FIELDS)
            seen |= dict.fromkeys(_words(record.value.get(name)), name) if name else {}
    labels = Labels(fields, "neutral" if "-1" in seen else "negative", refuse_grades and bool(SIGNS & set(seen)))
    if labels.has_one and not labels.given:
        source = next((f"{record.source}: " for record in first if record.source), "")
        for word, name in seen.items():
            _check_signs([word], sorted(one for one in seen if seen[one] == name), name, source)
    return labels, again


def name_of(value: Mapping[str, Any], given: str | None, usual: Sequence[str]) -> str | None:
    """The field of a record that is meant: the `given` one where it is there, or the first of the `usual` ones."""
    if given is not None:
        return given if given in value else None
    return next((one for one in usual if one in value), None)


def _check_signs(words: Sequence[str], seen: Sequence[str], field: str, source: str = "") -> None:
    """Raise InputError for a number that is no sign: where there are grades from 1 to 5, 1 is the worst of them."""
    grade = next((one for one in words if NUMBER.fullmatch(one) and abs(float(one)) > 1), None)
    if grade is not None:
        numbers = sorted((one for one in seen if NUMBER.fullmatch(one)), key=float)
        such = f", such as --positive {numbers[-1]} --negative {numbers[0]}" if len(numbers) > 1 else ""
        raise InputError(
            f"{source}the field {field} has {', '.join(seen[:MOST_SHOWN])}, so it is not clear what 1 means",
            f"say it: --positive and --negative, each repeatable, name the labels that count{such}",
        )


def _words(value: Any) -> list[str]:
    """The words of a label, or of several in a list."""
    return [_word(one) for one in (value if isinstance(value, (list, tuple)) else [value])]


def _word(value: Any) -> str:
    """A label as a word: True is true; 1, 1.0, a decimal 1.00 and the text "1.0", as CSV files have it, are 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple, Mapping)):
        return "(several)"
    if isinstance(value, (float, Decimal)) and isfinite(value) and value == int(value):
        value = int(value)
    word = str(value).strip().lower()
    whole = WHOLE.fullmatch(word)
    return whole[1] if whole else word
