"""Files and streams whose name says no format: what they begin with tells, and else they are lines.

JSON that goes on over several lines would be run line by line, brackets and all; of a table the line that names its
columns would be a text.
"""

import csv
import re

from actkit.config import ReadSpec
from actkit.pipeline.input.delimited import rows_of
from actkit.pipeline.input.dialects import DELIMITERS
from actkit.pipeline.input.field_names import KNOWN
from actkit.pipeline.input.files import bytes_of, name_of
from actkit.pipeline.input.lines import is_document, jsonl_of, lines_of_text
from actkit.pipeline.input.packed import beginning
from actkit.pipeline.input.records import Records

COLUMN = re.compile(r"[A-Za-z]\w*([ .-]\w+)*")
"""Pattern of column names, for a file that is not declared to be a table."""


def read_unnamed(path: str, default_format: str, read: ReadSpec) -> Records:
    """The records of a file that may be `text` or `jsonl`, as its default says, or a table with a header line."""
    with bytes_of(path) as file:
        name, start = name_of(path), beginning(file)
        delimiter = delimiter_of(start)
        if delimiter is not None:
            yield from rows_of(file, name, read, delimiter)
        elif default_format == "jsonl" or is_document(start):
            yield from jsonl_of(file, name)
        else:
            yield from lines_of_text(file, name)


def delimiter_of(start: bytes) -> str | None:
    """The delimiter of a table that begins with these bytes; None for any other file.

    Its first line has names alone, one of them a usual one, and its second as many fields, as far as it is there.
    """
    first, end, rest = start.decode("utf-8", "replace").removeprefix("\ufeff").partition("\n")
    second = rest.partition("\n")[0]
    for delimiter in DELIMITERS if end else ():
        try:
            names = next(csv.reader([first.rstrip("\r")], delimiter=delimiter), [])
        except csv.Error:
            continue
        alone = len(set(names)) == len(names) > 1 and all(map(COLUMN.fullmatch, names))
        if alone and any(name in KNOWN for name in names) and (delimiter in second or '"' in second):
            return delimiter
    return None
