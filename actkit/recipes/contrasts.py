"""Contrast pairs, the input of `concept`: two texts that differ in one thing, of a built-in concept or one's own.

concepts.json                        a concept's templates, each in two wordings, filled with its stems
{"positive", "negative"}             a pair
{"statement", "label"}               statements; the next true and the next false one make a pair
{"question", "answer_matching_behavior", "answer_not_matching_behavior"}     one prompt, two answers
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from actkit.config import ReadSpec
from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.files import name_of, shown
from actkit.pipeline.input.reader import Records, look_ahead, read_records
from actkit.recipes.concepts import Template, concepts, pairs_of
from actkit.recipes.feedback import named
from actkit.recipes.prompt_response import text_in
from actkit.recipes.statements import paired

PAIR, STATEMENTS, ANSWERS = "pairs", "statements", "answers"
FIELDS = {
    PAIR: ("positive", "negative"),
    STATEMENTS: ("statement", "label"),
    ANSWERS: ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
}
"""Format → the fields that a record of it has."""
LOOK_AHEAD = 100


@dataclass(frozen=True)
class Contrast:
    """One pair: two texts, or one prompt with two answers, and what it shares with other pairs."""

    positive: str
    negative: str
    prompt: str | None
    stem: str
    """Pairs of one stem never stand on both sides of a split."""
    template: str | None


def contrasts_in(what: str, read: ReadSpec | None = None) -> tuple[str, Records]:
    """A built-in concept, or a file: what it was taken for, and its records.

    Raises UsageError for neither, with the concepts that there are; InputError for a file of no known format.
    """
    if what.lower() in concepts():
        return "built-in concept", pairs_of(concepts()[what.lower()])
    if "." not in what and "/" not in what and what != "-" and not _is_there(what):
        near = difflib.get_close_matches(what.lower(), concepts(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no concept {shown(what)[:200]}", f"{hint}there are {', '.join(concepts())}; or give a file of pairs"
        )
    first, records = look_ahead(read_records(what, "jsonl", read), LOOK_AHEAD)
    form = next((form for one in first if (form := _form(one)) is not None), None)
    if form is None:
        wanted = "; ".join(", ".join(names) for names in FIELDS.values())
        bad = next((f" ({one.place}: {one.reason})" for one in first if isinstance(one, Rejected)), "")
        many = "1 record" if len(first) == 1 else f"{len(first)} records"
        none = f"no contrast pairs in its first {many}{bad}" if first else "the input has no records"
        raise InputError(f"{shown(name_of(what))}: {none}", f"a record has {wanted}")
    return form, paired(records) if form == STATEMENTS else records


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a whole text given where a name belongs is too long for one
        return False


def from_stems(template: Template, path: str, read: ReadSpec | None = None) -> Records:
    """One template over the stems of a file, a stem a line or a record."""
    for record in read_records(path, "text", read):
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


def _form(record: Record | Rejected) -> str | None:
    value = record.value if isinstance(record, Record) else None
    if not isinstance(value, Mapping):
        return None
    return next((form for form, names in FIELDS.items() if all(name in value for name in names)), None)


def _first_text(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    names: Sequence[str] = ("stem", "text", "prompt")
    texts: Iterator[Any] = (value[name] for name in names if name in value)
    found = next(texts, None)
    return found if isinstance(found, str) else None
