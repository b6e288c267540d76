"""Stage 1, records: read every record of an input, as a stream.

Every record read is yielded exactly once, as a `Record` or as a `Rejected`: a bad line never stops the lines after it.
Files whose structure itself is broken (an array cut off in the middle, a damaged gzip) raise InputError, since no later
record can be found in them.
"""

import csv
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from actkit.config import ReadSpec
from actkit.errors import InputError, listed
from actkit.pipeline.input.arrow import read_saved
from actkit.pipeline.input.delimited import rows_of
from actkit.pipeline.input.dialects import DELIMITERS
from actkit.pipeline.input.field_names import KNOWN
from actkit.pipeline.input.files import STDIN, bytes_of, name_of
from actkit.pipeline.input.formats import format_called, format_of
from actkit.pipeline.input.hub import explained
from actkit.pipeline.input.hub_files import from_url
from actkit.pipeline.input.lines import is_document, jsonl_of, lines_of_text
from actkit.pipeline.input.packed import DAMAGED, beginning
from actkit.pipeline.input.records import Record, Records, Rejected
from actkit.pipeline.input.sources import LISTED, InputSource, find, opened
from actkit.pipeline.input.zip_members import inside
from actkit.remote.reading import version_of
from actkit.remote.url import scheme_of

MOST_AHEAD = 1 << 25
"""Most characters of records that `look_ahead` holds, unless its caller says otherwise."""
MOST_VERSIONS = 200
"""Most files of a remote input whose versions a run keeps."""
COLUMN = re.compile(r"[A-Za-z]\w*([ .-]\w+)*")
"""Pattern of a column's name, for a file whose name tells no format."""
LINE_END = re.compile("\r?\n|\r")


def read_records(where: str, default_format: str = "text", read: ReadSpec | None = None) -> Records:
    """Read the records of the input that `where` names (`-` is standard input); an unknown suffix is `default_format`.

    Raises InputError for a missing input at once, not with the first record.
    """
    read = read or ReadSpec()
    return records_of(find(where, read.split), default_format, read)


def records_of(source: InputSource, default_format: str, read: ReadSpec) -> Records:
    """Read the records of a source; those of several files are numbered consecutively."""
    source = source if source.rows is not None else opened(source, read.split)
    if source.saved is not None:
        return read_saved(source.saved, read)
    if source.rows is not None:
        return _rows(str(source.dataset), source.rows)
    if len(source.files) == 1:
        return read_file(source.files[0], default_format, read)
    return numbered(source.files, lambda file: read_file(file, default_format, read))


def read_file(path: str, default_format: str, read: ReadSpec) -> Records:
    """Read the records of one file."""
    name = None if path == STDIN else format_of(path)
    if name is None and default_format in ("text", "jsonl"):
        return read_unnamed(path, default_format, read)
    return format_called(name or default_format).read(path, read)


def numbered(files: Iterable[str], reader: Callable[[str], Records]) -> Records:
    """Read the records of several files, numbered consecutively."""
    for number, record in enumerate(itertools.chain.from_iterable(map(reader, files))):
        yield replace(record, record_id=number)


def _rows(dataset: str, rows: Iterable[object]) -> Records:
    with explained(dataset):
        for index, row in enumerate(rows):
            yield Record(index, dataset, None, row)


def look_ahead(
    records: Records, most: int, most_text: int = MOST_AHEAD
) -> tuple[list[Record | Rejected], Records, bool]:
    """Return the first records, all records, and whether these are the same: standard input cannot be read twice.

    The first are at most `most`, and end with the one that brings them above `most_text` characters.
    """
    first: list[Record | Rejected] = []
    left = most_text
    for record in records:
        first.append(record)
        left -= len(str(record.value)) if isinstance(record, Record) else 0
        if len(first) == most or left < 0:
            break

    def again() -> Records:
        yield from first
        yield from records

    return first, again(), len(first) < most and left >= 0


def records_about(where: str, read: ReadSpec | None = None) -> int | None:
    """Estimate the number of records of an input; None where only reading it would tell.

    It is None for standard input, a pipe, an archive, a remote file, a dataset of the hub, and a JSON object.
    """
    try:
        source = find(where, (read or ReadSpec()).split)
    except InputError:
        return None
    counts = [about_file(file) for file in source.files]
    return None if None in counts or not counts else sum(filter(None, counts))


def left_of(where: str | None, read: ReadSpec) -> dict[str, str]:
    """Return notes for the run: readable files of a folder or archive that are left out, and a split without effect."""
    if where is None or scheme_of(from_url(where)) is not None:
        return {}
    try:
        source = find(where, read.split)
    except InputError:  # a concept's name; for a bad input, reading raises the error
        return {}
    left = [Path(name).name for name in source.left]
    return {**({"files_left": listed(left, LISTED)} if left else {}), **source.without_effect(read.split)}


def versions_of(where: str, read: ReadSpec) -> list[dict[str, Any]]:
    """Return the versions of a remote input's first `MOST_VERSIONS` files: later they show whether a file changed."""
    if scheme_of(from_url(where)) is None:
        return []
    files = find(where, read.split).files
    return [version_of(file) for file in files[:MOST_VERSIONS] if inside(file) is None]


def about_file(path: str) -> int | None:
    """Estimate the number of records of a file; None where only reading it would tell."""
    import pyarrow as pa

    file = Path(path)
    try:
        if scheme_of(path) or inside(path) or not file.is_file():
            return None
        return format_called(format_of(path) or "text").count(file)
    except (OSError, ValueError, *DAMAGED, pa.ArrowException):  # reading the file raises the error
        return None


def read_unnamed(path: str, default_format: str, read: ReadSpec) -> Records:
    """Read a file whose name tells no format: `text` or `jsonl` by default, or JSON, or a table with a header line.

    Otherwise JSON over several lines would be run line by line, and a table's header would be run as a text.
    """
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
    """Return the delimiter of a table that begins with these bytes; None for any other file.

    A table's first line has only names, each once, one of them usual; its second has the delimiter or a quote.
    """
    first, *rest = LINE_END.split(start.decode("utf-8", "replace").removeprefix("\ufeff"), 2)
    second = rest[0] if rest else ""
    for delimiter in DELIMITERS if rest else ():
        try:
            names = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            continue
        alone = len(set(names)) == len(names) > 1 and all(map(COLUMN.fullmatch, names))
        if alone and any(name in KNOWN for name in names) and (delimiter in second or '"' in second):
            return delimiter
    return None
