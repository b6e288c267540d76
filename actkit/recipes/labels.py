"""The meaning of labels of feedback: words, numbers of two or three signs, or labels that a user names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Record
from actkit.pipeline.input.reader import look_ahead
from actkit.pipeline.input.records import Records
from actkit.recipes.conversations.fields import lookup
from actkit.recipes.label_words import (
    LONGEST,
    NO,
    NUMBER,
    SIGNS,
    WORDS,
    YES,
    Label,
    check_apart,
    halves,
    has_comma,
    is_against,
    is_fraction,
    is_grade,
    named,
    numbers_of,
    parts_of,
    why_none,
    words_of,
)
from actkit.recipes.withdrawn import check_holds

LABEL_FIELDS = ("feedback", "label", "labels", "rating", "sentiment", "kto_tag")
"""Fields looked for, in this order, when none is given."""
LOOK_AHEAD = 1000
MOST_SHOWN = 10
"""Labels that an error shows."""


@dataclass(frozen=True)
class FeedbackFields:
    """Fields of labelled texts; None looks for the usual names."""

    text: str | None = field(default=None, metadata={"option": "text_field"})
    label: str | None = field(default=None, metadata={"option": "label_field"})
    prompt: str | None = field(default=None, metadata={"option": "prompt_field"})
    group: str | None = field(default=None, metadata={"option": "group_field"})
    score: str | None = field(default=None, metadata={"option": "score_field"})
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    """Labels, or rules for grades such as >=3, that count as positive and negative; no other words do then."""
    positive_columns: tuple[str, ...] = field(default=(), metadata={"option": "positive_column"})
    negative_columns: tuple[str, ...] = field(default=(), metadata={"option": "negative_column"})
    """Columns of zeros and ones instead of a label. Where only one sign has columns, all zeros are the other."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of zeros and ones."""
        return (*self.positive_columns, *self.negative_columns)


class Labels:
    """The meaning of the labels of one input."""

    def __init__(self, fields: FeedbackFields, zero: Label = "negative", numbers: bool | None = None) -> None:
        self.fields = fields
        self.given = bool(fields.positive or fields.negative)
        self.zero = zero
        self.numbers = numbers
        """Whether the first records have numbers as labels; None where nothing is known of them. If they do,
        a number that is no sign ends the run, since all may be grades; if not, a number that is a sign ends it."""
        self.named: Mapping[Label, Any] = {"positive": named(fields.positive), "negative": named(fields.negative)}
        self.graded = any(those.rules for those in self.named.values())
        """Whether rules for grades are given, so that `4,5` is no list of two classes."""
        self.words: Mapping[str, Label] = {**WORDS, "0": zero}

    def of_record(self, value: Mapping[str, Any]) -> tuple[Label, tuple[str, ...]]:
        """Return the meaning of a record's label, and the fields that it is in. Raises as `of` does."""
        if self.fields.columns:
            return self._of_columns(value), self.fields.columns
        name = name_of(value, self.fields.label, LABEL_FIELDS)
        if name is None:
            raise RecordError(self.fields.label, f"no field {self.fields.label or ' or '.join(LABEL_FIELDS)}")
        check_holds(value, name)
        return self.of(lookup(value, name), name), (name,)

    def of(self, value: Any, field: str) -> Label:
        """Return the meaning of one label, or of several in a list.

        Raises RecordError for a label without a meaning here, InputError for one that makes earlier labels doubtful.
        """
        meant = self.meanings(value)
        if not self.given:
            self._check_kind(words_of(value), field)
        if self.zero == "negative" and "-1" in words_of(value) and not self.given:
            raise InputError(
                f"the field {field} has -1 after 0 and 1, so it is not clear what 0 means",
                "say it: --positive 1 --negative -1",
            )
        if len(meant) > 1:
            raise RecordError(field, "both positive and negative", shown(value))
        if not meant:
            if value is None:
                raise RecordError(field, "missing")
            raise RecordError(field, why_none(value, field, self.graded), shown(value))
        return meant.pop()

    def meanings(self, value: Any) -> set[Label]:
        """Return every meaning of a label, or of several in a list or in one text."""
        if not self.given:
            return {self.words[word] for word in words_of(value) if word in self.words}
        # In this order: names of classes or the whole text, numbers of classes, parts of the text, and a list as
        # it is shown: [0, 1].
        parts = [] if self.graded and has_comma(value) else parts_of(value)
        for words in (words_of(value), numbers_of(value), parts, [str(value).strip().lower()]):
            meant = {sign for word in words for sign, those in self.named.items() if those.holds(word)}
            if meant:
                return meant
        return set()

    def _check_kind(self, words: Sequence[str], field: str) -> None:
        """Raise InputError for a number whose meaning is doubtful after the labels before it."""
        if self.numbers:
            _check_signs(words, words, field)
        elif self.numbers is False and (signs := SIGNS.intersection(words)):
            raise InputError(
                f"the field {field} has {min(signs)} after words alone, so it is not clear what {min(signs)} means",
                "say it: --positive and --negative, each repeatable, name the labels that count",
            )

    def _of_columns(self, value: Mapping[str, Any]) -> Label:
        marked = {name for name in self.fields.columns if _is_marked(value, name)}
        positive, negative = marked & {*self.fields.positive_columns}, marked & {*self.fields.negative_columns}
        if positive and negative:
            raise RecordError(self.fields.positive_columns[0], "both positive and negative")
        if positive or negative:
            return "positive" if positive else "negative"
        if self.fields.positive_columns and self.fields.negative_columns:
            raise RecordError(self.fields.positive_columns[0], "neither positive nor negative")
        return "negative" if self.fields.positive_columns else "positive"


def _is_marked(value: Mapping[str, Any], name: str) -> bool:
    """Whether a column of zeros and ones has a one. Raises RecordError where it is not there or has another value."""
    found = lookup(value, name)
    if found is None:
        raise RecordError(name, "missing" if name in value else f"no field {name}")
    (word,) = words_of(found) if not isinstance(found, (list, tuple)) else ("(several)",)
    if word not in (*YES, *NO, "0"):
        raise RecordError(name, "neither 0 nor 1")
    return word in YES


def check_labels(fields: FeedbackFields) -> None:
    """Raise UsageError for a label or column of both signs, labels of one sign alone, or columns beside labels."""
    if fields.columns and (fields.label or fields.positive or fields.negative):
        raise UsageError(
            "--positive-column and --negative-column stand for a label",
            "leave out --label-field, --positive and --negative",
        )
    if set(fields.positive_columns) & set(fields.negative_columns):
        raise UsageError("one column is given as positive and as negative", "it can be one of them")
    if bool(fields.positive) != bool(fields.negative):
        raise UsageError("--positive and --negative belong together", "name labels of both")
    check_apart(named(fields.positive), named(fields.negative))


def labels_in(records: Records, fields: FeedbackFields) -> tuple[Labels, Records]:
    """Settle the meanings of labels by the first records: whether -1 stands beside 0, and whether there are words.

    Raises InputError where the meaning is doubtful: grades, numbers of classes, 1 in a field such as `toxic`. Among
    words, a number that is no sign rejects its record alone.
    """
    first, again, _ = look_ahead(records, LOOK_AHEAD)
    if fields.columns:
        return Labels(fields), again
    seen: dict[str, str] = {}
    for record in first:
        if isinstance(record, Record) and isinstance(record.value, Mapping):
            name = name_of(record.value, fields.label, LABEL_FIELDS)
            seen |= dict.fromkeys(words_of(lookup(record.value, name)), name) if name else {}
    numbers = bool(SIGNS & seen.keys()) or not WORDS.keys() & seen.keys()
    if not (fields.positive or fields.negative):
        _check_minus(seen)
    labels = Labels(fields, "neutral" if "-1" in seen else "negative", numbers)
    if labels.numbers and not labels.given:
        source = next((f"{record.source}: " for record in first if record.source), "")
        for word, name in seen.items():
            _check_signs([word], sorted(known for known in seen if seen[known] == name), name, source)
    if not labels.given:
        _check_names(seen)
    return labels, again


def _check_minus(seen: Mapping[str, str]) -> None:
    """Raise InputError for -1, 0, 1 in a `label`: -1 may be the negative label, or the mark of `datasets` for none."""
    name = seen.get("-1", "")
    if {"-1", "0", "1"} <= seen.keys() and name.rpartition(".")[2] in ("label", "labels"):
        raise InputError(
            f"the field {name} has -1, 0, 1, so it is not clear whether -1 is negative or says that there is no label",
            "say it: --positive 1 --negative -1, or --positive 1 --negative 0",
        )


def _check_names(seen: Mapping[str, str]) -> None:
    """Raise InputError where a yes in a field called `toxic` or the like would count as positive."""
    yes = next((word for word, name in seen.items() if word in (*YES, "+1") and is_against(name)), None)
    if yes is not None:
        no = next((word for word in seen if word in (*NO, "0")), "0")
        raise InputError(
            f"the field {seen[yes]} has {', '.join([*seen][:MOST_SHOWN])}, and by its name {yes} is nothing positive",
            f"say which labels count: --positive and --negative, each repeatable, such as "
            f"--positive {no} --negative {yes}",
        )


def shown(label: Any) -> str:
    """A label as an error shows it, in short."""
    text = " ".join(str(label).split())
    return f"{text[:LONGEST]}…" if len(text) > LONGEST else text


def name_of(value: Mapping[str, Any], given: str | None, usual: Sequence[str]) -> str | None:
    """Return the field of a record to read: the `given` one if it is there, or else the first of the `usual` ones.

    A given field such as `feedback.thumb` reaches into objects.
    """
    if given is not None:
        return given if given in value or lookup(value, given) is not None else None
    return next((each for each in usual if each in value), None)


def _check_signs(words: Sequence[str], seen: Sequence[str], field: str, source: str = "") -> None:
    """Raise InputError for a number that is no sign: of grades from 1 to 5, 1 is the worst; few scores are just 1."""
    if any(is_grade(word) for word in words):
        numbers = sorted((word for word in seen if NUMBER.fullmatch(word)), key=float, reverse=not is_against(field))
        such = f", such as --positive {numbers[0]} --negative {numbers[-1]}" if len(numbers) > 1 else ""
        if any(map(is_fraction, seen)):
            such = f", or say where they begin, such as --positive {halves(is_against(field))}"
        doubt = "what 1 means" if SIGNS.intersection(seen) else "which labels are positive"
        raise InputError(
            f"{source}the field {field} has {', '.join(seen[:MOST_SHOWN])}, so it is not clear {doubt}",
            f"say it: --positive and --negative, each repeatable, name the labels that count{such}",
        )
