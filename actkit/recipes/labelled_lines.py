"""Lines of text with a label around them or in their file's name, as records.

<Pros>Easy to use</Pros>      {"text": "Easy to use", "label": "Pros"}; else the label would be read as text
positive.txt, negative.txt    {"text", "file", "folder"}: `--label-field file --positive positive --negative negative`
"""

import re
from dataclasses import replace
from pathlib import PurePath

from actkit.pipeline.data import Record
from actkit.pipeline.input.records import Records

TAGGED = re.compile(r"\s*<([A-Za-z][\w-]*)>(.*)</\1>\s*", re.DOTALL)


def labelled_lines(records: Records) -> Records:
    """The records, those that are text as objects with fields."""
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
