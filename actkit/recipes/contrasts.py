"""Contrast pairs, the input of `concept`: two texts that differ in one thing, of a built-in concept or one's own.

concepts.json                        a concept's templates, each in two wordings, filled with its stems
{"positive", "negative"}             a pair
{"statement", "label"}               statements; the next true and the next false one make a pair
{"question", "answer_matching_behavior", "answer_not_matching_behavior"}     one prompt, two answers
"""

import difflib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.opened import shown
from actkit.pipeline.source import Records, look_ahead, read_records
from actkit.recipes.answered import text_in
from actkit.recipes.feedback import FeedbackFields, labels_in, named

CONCEPTS = Path(__file__).with_name("concepts.json")
STEM = "{stem}"
PAIR, STATEMENTS, ANSWERS = "pairs", "statements", "answers"
FIELDS = {
    PAIR: ("positive", "negative"),
    STATEMENTS: ("statement", "label"),
    ANSWERS: ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
}
"""Format → the fields that a record of it has."""
LOOK_AHEAD = 100


@dataclass(frozen=True)
class Template:
    """One wording of a contrast; `{stem}` is where the stem goes."""

    name: str
    positive: str
    negative: str

    def filled(self, stem: str) -> dict[str, str]:
        """Both sides with the stem in place."""
        sides = {"positive": self.positive.replace(STEM, stem), "negative": self.negative.replace(STEM, stem)}
        return {**sides, "stem": stem, "template": self.name}


@dataclass(frozen=True)
class Concept:
    """A built-in concept."""

    name: str
    description: str
    templates: tuple[Template, ...]
    stems: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """One pair: two texts, or one prompt with two answers, and what it shares with other pairs."""

    positive: str
    negative: str
    prompt: str | None
    stem: str
    """Pairs of one stem never stand on both sides of a split."""
    template: str | None


@cache
def concepts() -> Mapping[str, Concept]:
    """The built-in concepts by name."""
    found = json.loads(CONCEPTS.read_text(encoding="utf-8"))["concepts"]
    return {
        name: Concept(
            name,
            one["description"],
            tuple(Template(each["name"], each["positive"], each["negative"]) for each in one["templates"]),
            tuple(one["stems"]),
        )
        for name, one in found.items()
    }


def contrasts_in(what: str) -> tuple[str, Records]:
    """A built-in concept, or a file: what it was taken for, and its records.

    Raises UsageError for neither, with the concepts that there are; InputError for a file of no known format.
    """
    if what.lower() in concepts():
        return "built-in concept", _built_in(concepts()[what.lower()])
    if "." not in what and "/" not in what and what != "-" and not _is_there(what):
        near = difflib.get_close_matches(what.lower(), concepts(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no concept {shown(what)[:200]}", f"{hint}there are {', '.join(concepts())}; or give a file of pairs"
        )
    first, records = look_ahead(read_records(what, default_format="jsonl"), LOOK_AHEAD)
    form = next((form for one in first if (form := _form(one)) is not None), None)
    if form is None:
        wanted = "; ".join(", ".join(names) for names in FIELDS.values())
        raise InputError(f"{what}: no contrast pairs in its first {len(first)} records", f"a record has {wanted}")
    return form, _statements(records) if form == STATEMENTS else records


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a whole text given where a name belongs is too long for one
        return False


def from_stems(template: Template, path: str) -> Records:
    """One template over the stems of a file, a stem a line or a record."""
    for record in read_records(path, default_format="text"):
        if isinstance(record, Record):
            stem = record.value if isinstance(record.value, str) else _first_text(record.value)
            yield replace(record, value=template.filled(stem) if stem is not None else record.value)
        else:
            yield record


def parse_contrast(value: Any) -> Contrast:
    """The pair in one record. Raises RecordError, with the field, for what is missing, empty or equal."""
    if not isinstance(value, Mapping):
        raise RecordError(None, "not an object with fields")
    names = FIELDS[ANSWERS] if FIELDS[ANSWERS][1] in value else (None, *FIELDS[PAIR])
    prompt = None if names[0] is None else text_in(value.get(names[0]), names[0])
    positive, negative = (text_in(value.get(name), cast("str", name)) for name in names[1:])
    if positive == negative:
        raise RecordError(names[2], "both sides are equal")
    # A table with a column for it has nulls, CSV empty text, where a pair has none: that is no stem that they share.
    stem, template = (None if value.get(name) in (None, "") else value[name] for name in ("stem", "template"))
    own = f"{positive}\n{negative}" if prompt is None else prompt
    return Contrast(
        positive,
        negative,
        prompt,
        named(own if stem is None else stem, "stem"),
        None if template is None else named(template, "template"),
    )


def _built_in(concept: Concept) -> Records:
    # Stem by stem, so that the first few pairs already have every template.
    pairs = [template.filled(stem) for stem in concept.stems for template in concept.templates]
    yield from (Record(index, concept.name, None, pair) for index, pair in enumerate(pairs))


def _form(record: Record | Rejected) -> str | None:
    value = record.value if isinstance(record, Record) else None
    if not isinstance(value, Mapping):
        return None
    return next((form for form, names in FIELDS.items() if all(name in value for name in names)), None)


def _statements(records: Records) -> Records:
    """Each true statement with the next false one, in order; one that is left over is rejected."""
    labels, records = labels_in(records, FeedbackFields(label="label"))
    waiting: dict[str, deque[Record]] = {"positive": deque(), "negative": deque()}
    number = 0
    for record in records:
        found = record if isinstance(record, Rejected) else _labelled(record, labels)
        if isinstance(found, Rejected):
            yield replace(found, record_id=number)
            number += 1
            continue
        side, own = found
        other = waiting["negative" if side == "positive" else "positive"]
        if not other:
            waiting[side].append(own)
            continue
        match = other.popleft()
        pair = {side: own.value, ("negative" if side == "positive" else "positive"): match.value}
        yield replace(match, record_id=number, value=pair)
        number += 1
    for left in (*waiting["positive"], *waiting["negative"]):
        yield Rejected(number, left.source, left.line, "label", "no statement of the other label is left for it")
        number += 1


def _labelled(record: Record, labels: Any) -> tuple[str, Record] | Rejected:
    try:
        if not isinstance(record.value, Mapping):
            raise RecordError(None, "not an object with fields")
        side = labels.of(record.value.get("label"), "label")
        if side == "neutral":
            raise RecordError("label", "neither positive nor negative")
        return side, replace(record, value=text_in(record.value.get("statement"), "statement"))
    except RecordError as error:
        return Rejected(record.record_id, record.source, record.line, error.field, error.reason)


def _first_text(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    names: Sequence[str] = ("stem", "text", "prompt")
    texts: Iterator[Any] = (value[name] for name in names if name in value)
    found = next(texts, None)
    return found if isinstance(found, str) else None
