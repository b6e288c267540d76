"""Counts the labels of records by meaning: for the screen and `run.json`, and to refuse records of one sign alone."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

from actkit.errors import RecordError, RunError, listed
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.records import Records
from actkit.pipeline.rejections import remedy, told
from actkit.recipes.conversations.fields import lookup, object_of
from actkit.recipes.labels import LABEL_FIELDS, MOST_SHOWN, Labels, name_of, shown

KINDS = ("positive", "negative", "neutral", "neither")
"""`neither` is a label that means nothing, or both."""
TAGGED = re.compile(r"\s*<([A-Za-z][\w-]*)>(.*)</\1>\s*", re.DOTALL)


def meant_in(labels: Labels, records: Sequence[Record | Rejected]) -> dict[str, Any]:
    """Group the labels of some records by meaning: `field`, and kind → labels, the commonest first.

    Labels of `neither` have their counts.
    """
    fields = labels.fields
    if fields.columns:
        return {"positive": list(fields.positive_columns), "negative": list(fields.negative_columns), "field": None}
    found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    names: Counter[str] = Counter()
    for name, label, kind in _labels_of(labels, records):
        names[name] += 1
        several = label if isinstance(label, (list, tuple)) else [label]
        meant = several if kind == "neither" else [each for each in several if kind in labels.meanings(each)]
        found[kind].update(map(shown, meant or several))
    told: dict[str, Any] = {"field": names.most_common(1)[0][0] if names else fields.label}
    for kind, counts in found.items():
        if counts:
            most = dict(counts.most_common(MOST_SHOWN))
            told[kind] = most if kind == "neither" else list(most)
    return told


def check_both(labels: Labels, records: Sequence[Record | Rejected], field: str | None) -> None:
    """Raise RunError where all records are of one sign, with the labels and how many records have each.

    The error also counts the records that are rejected for their labels or cannot be read, and says why the first is.
    """
    n: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for _, label, kind in _labels_of(labels, records):
        n[kind] += 1
        every[shown(label)] += 1
    if bool(n["positive"]) == bool(n["negative"]):  # the run itself says more of an input without either sign
        return
    commonest = sorted(every.items(), key=lambda item: (-item[1], item[0]))
    there = listed([f"{label} ({count:,})" for label, count in commonest], MOST_SHOWN)
    rejected = [why for why in map(partial(_why_rejected, labels), records) if why is not None]
    more = f", and {len(rejected):,} rejected ({rejected[0]})" if rejected else ""
    mend = remedy(rejected[0]) if rejected else None
    named = f"the labels{f' in {field}' if field else ''} are {there}: --positive and --negative name those that count"
    raise RunError(
        f"there is nothing to compare: {n['positive']:,} positive and {n['negative']:,} negative texts{more}",
        mend or (f"mend what is rejected; {named}" if rejected else f"{named}, each repeatable"),
    )


def _why_rejected(labels: Labels, record: Record | Rejected) -> str | None:
    """Say where and why a record cannot be read or its label is rejected; None for any other record."""
    if isinstance(record, Rejected):
        return told(record, None)
    try:
        labels.of_record(object_of(record.value))
    except RecordError as error:
        return told(record.rejected(error), record.value)
    return None


def _labels_of(labels: Labels, records: Sequence[Record | Rejected]) -> Iterator[tuple[str, Any, str]]:
    """Yield field, label and kind of each record that has a label."""
    for record in records:
        value = record.value if isinstance(record, Record) else None
        name = name_of(value, labels.fields.label, LABEL_FIELDS) if isinstance(value, Mapping) else None
        if name is not None:
            label = lookup(value, name)
            meant = labels.meanings(label)
            yield name, label, next(iter(meant)) if len(meant) == 1 else "neither"


def labelled_lines(records: Records) -> Records:
    """Yield the records; a line of text becomes an object with the label around it, or its file's and folder's names.

    <Pros>Easy to use</Pros>      {"text": "Easy to use", "label": "Pros"}; else the label would be read as text
    positive.txt, negative.txt    {"text", "file", "folder"}: `--label-field file --positive positive …`
    """
    for record in records:
        if isinstance(record, Record) and isinstance(record.value, str):
            yield replace(record, value=_fields(record.value, PurePath(record.source)))
        else:
            yield record


def _fields(text: str, source: PurePath) -> dict[str, str]:
    tagged = TAGGED.fullmatch(text)
    if tagged:
        return {"text": tagged[2], "label": tagged[1]}
    return {"text": text, "file": source.stem, "folder": source.parent.name}
