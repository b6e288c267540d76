"""Stage 1, records: read JSONL, JSON, CSV, TSV, Parquet or lines of text, plain or .gz, as a stream.

Every record read is yielded exactly once, as a `Record` or as a `Rejected`: a bad line never stops the ones after it.
Files whose structure itself is broken (an array cut off in the middle, a damaged gzip) raise InputError, since what
follows cannot be told apart.
"""

import csv
import difflib
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from actkit.errors import InputError
from actkit.pipeline import opened
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.data import Records as Records
from actkit.pipeline.json_stream import JsonStream, broken
from actkit.pipeline.json_values import JsonValues, short
from actkit.pipeline.opened import STDIN, bytes_of, check_name, lines_of, name_of, shown, too_long
from actkit.pipeline.parquet_rows import read_parquet

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}


def read_records(path: str, default_format: str = "text") -> Records:
    """The records of `path` (`-` is standard input); an unknown suffix means `default_format`."""
    check_name(path)
    format_name = (None if path == STDIN else format_of(path)) or default_format
    if path != STDIN and not _is_file(Path(path)):
        raise InputError(f"{shown(path)}: no such file", _hint_for_missing(Path(path)))
    if format_name == "parquet":
        return read_parquet(path)
    return _READERS[format_name](path)


def look_ahead(records: Records, most: int) -> tuple[list[Record | Rejected], Records]:
    """The first records, at most `most`, and all of them: standard input cannot be read twice."""
    first = list(itertools.islice(records, most))

    def again() -> Records:
        yield from first
        yield from records

    return first, again()


def format_of(path: str) -> str | None:
    """The format that a file's name says, `.gz` left aside; None for an unknown one."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return FORMATS.get(next((name for name in reversed(suffixes) if name != ".gz"), ""))


def _is_file(path: Path) -> bool:
    try:
        # A named pipe, as in `actkit capture <(head prompts.txt)`, exists but is no regular file.
        return path.exists() and not path.is_dir()
    except OSError:  # a whole prompt given where a path belongs is too long a name
        return False


def _hint_for_missing(path: Path) -> str:
    try:
        if path.is_dir():
            return "this is a directory; give one file"
        names = [other.name for other in path.parent.iterdir() if other.suffix == path.suffix]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=5, cutoff=0)
    return f"in the same folder: {', '.join(near)}" if near else "check the path; `-` reads standard input"


def _text_lines(path: str) -> Records:
    for index, (number, line, fault) in enumerate(lines_of(path)):
        if fault is not None:
            yield Rejected(index, name_of(path), number, None, fault)
        elif not line.strip():
            yield Rejected(index, name_of(path), number, None, "empty line")
        else:
            yield Record(index, name_of(path), number, line)


def _jsonl(path: str) -> Records:
    return as_json(_text_lines(path))


def as_json(lines: Records) -> Records:
    """Lines of text as one JSON value each."""
    values = JsonValues()
    for line in lines:
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            value, fault = values.whole(line.value)
        except (ValueError, RecursionError) as error:
            value, fault = None, f"not JSON: {short(error)}"
        yield _checked(replace(line, value=value), fault)


def _json(path: str) -> Records:
    """The elements of a JSON array, or JSON values one after another; never more than one in memory."""
    with bytes_of(path) as file:
        text = JsonStream(file, name_of(path))
        in_array = text.skip("[")
        index = 0
        while not text.at_end(closing="]" if in_array else ""):
            line = text.line
            value, fault = text.value()
            yield _checked(Record(index, name_of(path), line, value), fault)
            index += 1
            text.skip(",")
        if in_array:
            text.close_array()


def _checked(record: Record, fault: str | None) -> Record | Rejected:
    return record if fault is None else Rejected(record.record_id, record.source, record.line, None, fault)


def _separated(delimiter: str) -> Callable[[str], Records]:
    """A reader of CSV or TSV with a header line; each record is a mapping of column to text."""

    def read(path: str) -> Records:
        name = name_of(path)
        csv.field_size_limit(opened.MOST)  # the default refuses fields over 128 KiB, which documents are
        with bytes_of(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            # Not strict, a quote that is never closed would take in the rest of the file without a word.
            rows = csv.reader(_bounded(text, name), delimiter=delimiter, strict=True)
            line = 1
            try:
                header = next(rows, None)
                if not header:
                    raise InputError(f"{name}: there is no header line", "the first line must name the columns")
                if any(broken(column) for column in header):
                    raise InputError(f"{name}:1: the header line is not valid UTF-8", "save it as UTF-8")
                twice = sorted({column for column in header if header.count(column) > 1})
                if twice:
                    raise InputError(f"{name}:1: two columns are named {twice[0][:60]!r}", "rename one of them")
                line = rows.line_num + 1
                for index, row in enumerate(rows):
                    yield _csv_record(index, name, line, header, row)
                    line = rows.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"{name}:{line}: {error}", "check the quotes in the record that begins on this line"
                ) from error

    return read


def _bounded(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines of a text, quoted ones in pieces as they stand. Raises InputError for one beyond `MOST`."""
    number = 0
    while line := text.readline(opened.MOST):
        number += 1
        if len(line) >= opened.MOST and not line.endswith(("\n", "\r")):
            raise InputError(f"{name}:{number}: {too_long()}", "a line is that long; is the file damaged?")
        yield line


def _csv_record(index: int, name: str, line: int, header: list[str], row: list[str]) -> Record | Rejected:
    if not row:
        return Rejected(index, name, line, None, "empty line")
    if len(row) != len(header):
        return Rejected(index, name, line, None, f"{len(row)} fields where the header has {len(header)}")
    for column, value in zip(header, row, strict=True):
        if broken(value):
            return Rejected(index, name, line, column, "not valid UTF-8")
    return Record(index, name, line, dict(zip(header, row, strict=True)))


_READERS: dict[str, Callable[[str], Records]] = {
    "text": _text_lines,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
}
