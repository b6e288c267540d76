"""Read lines of text, and JSONL: one record a line."""

import json
import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import IO, Any

from actkit.config import ReadSpec
from actkit.pipeline.input.field_names import are_messages
from actkit.pipeline.input.files import bytes_of, lines_of, name_of
from actkit.pipeline.input.json_file import numbered, read_array
from actkit.pipeline.input.json_values import JsonValues, short
from actkit.pipeline.input.packed import beginning
from actkit.pipeline.input.records import Record, Records, Rejected

DOCUMENT = re.compile(rb"""\s*(\[\s*[\n\r]\s*[{"[]|\{\s*[\n\r]\s+"[^"\n]*"\s*:|\[\s*\{[^\n\r]*\},[ \t]*[\n\r]\s*\{)""")
"""The beginning of JSON over several lines: a bracket or brace alone on its line, or an array, an element a line."""
MARKS = "\ufeff\x1e"
"""Characters that may precede a line and are no part of it: marks of joined files, and of RFC 7464."""


def read_lines(path: str, _read: ReadSpec) -> Records:
    """Read each line of a text; an empty line is rejected."""
    with bytes_of(path) as file:
        yield from lines_of_text(file, name_of(path))


def read_jsonl(path: str, _read: ReadSpec) -> Records:
    """Read the JSON value of each line, or the values of a JSON document that has the suffix of JSONL."""
    with bytes_of(path) as file:
        yield from jsonl_of(file, name_of(path))


def jsonl_of(file: IO[bytes], name: str) -> Records:
    """Read the JSON values of an open file; see `read_jsonl`."""
    is_whole = is_document(beginning(file))
    yield from numbered(read_array(file, name), name) if is_whole else spread(as_json(lines_of_text(file, name)))


def spread(records: Records) -> Records:
    """Yield the records; if the only line is an array of objects, yield its elements."""
    first = [*islice(records, 1)]
    lists = [record for record in first if isinstance(record, Record) and _are_records(record.value)]
    more = [*islice(records, 1)] if lists else []
    if lists and not more:
        first = [replace(lists[0], record_id=number, value=value) for number, value in enumerate(lists[0].value)]
    yield from (*first, *more)
    yield from records


def _are_records(values: Any) -> bool:
    are_objects = isinstance(values, list) and bool(values) and all(isinstance(value, dict) for value in values)
    return are_objects and not are_messages(values)


def lines_of_text(file: IO[bytes], name: str) -> Records:
    """Read each line of an open file; an empty line is rejected."""
    for index, (number, line, fault) in enumerate(lines_of(file)):
        if fault is not None:
            yield Rejected(index, name, number, None, fault)
        elif not line.strip():
            yield Rejected(index, name, number, None, "empty line")
        else:
            yield Record(index, name, number, line)


def is_document(start: bytes) -> bool:
    """Whether a file begins as JSON over several lines."""
    return DOCUMENT.match(start.removeprefix(b"\xef\xbb\xbf")) is not None


def as_json(lines: Records) -> Records:
    """Decode each line of text as one JSON value; records of other formats, already values, stay as they are."""
    values = JsonValues()
    for line in lines:
        if isinstance(line, Rejected) or not isinstance(line.value, str):
            yield line
            continue
        try:
            value, fault = values.whole(line.value.lstrip(MARKS))
        except (ValueError, RecursionError) as error:
            why = "more than one value on a line" if short(error) == "Extra data" else short(error)
            value, fault = None, f"not JSON{_why_not(line.value) or f': {why}'}"
        if fault is None:
            yield Record(line.record_id, line.source, line.line, value)
        else:
            yield Rejected(line.record_id, line.source, line.line, None, fault)


def _why_not(line: str) -> str | None:
    """Say how a line that is almost JSON differs from it; None for any other line."""
    if line.lstrip().startswith("{'"):
        return ", but an object that Python printed"
    if line.lstrip().lower().startswith(("<!doctype html", "<html")):
        return ", but a page in HTML: was the address of the file itself fetched?"
    text, comma = line.rstrip(), ","
    with suppress(ValueError, RecursionError):
        json.loads(text.removesuffix(comma))
        return ": a comma after the value" if text.endswith(comma) else None
    return None
