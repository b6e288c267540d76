"""Stage 1, records: read JSONL, JSON, CSV, TSV, Parquet or lines of text, plain or .gz, as a stream.

Every record read is yielded exactly once, as a `Record` or as a `Rejected`: a bad line never stops the ones after it.
Files whose structure itself is broken (an array cut off in the middle, a damaged gzip) raise InputError, since what
follows cannot be told apart.
"""

import difflib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.data import Records as Records
from actkit.pipeline.input.delimited import separated
from actkit.pipeline.input.files import STDIN, bytes_of, check_name, lines_of, name_of, shown
from actkit.pipeline.input.json_stream import JsonStream
from actkit.pipeline.input.json_values import JsonValues, short
from actkit.pipeline.input.parquet import read_parquet

SAMPLE = 1 << 20
"""Bytes at the beginning of a file from which the number of its lines is told."""
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
        raise InputError(f"{shown(path)}: {_what_it_is(Path(path))}", _hint_for_missing(Path(path)))
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


def _what_it_is(path: Path) -> str:
    try:
        return "a directory" if path.is_dir() else "no such file"
    except OSError:
        return "no such file"


def _hint_for_missing(path: Path) -> str:
    try:
        if path.is_dir():
            return "give one file of it"
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


_READERS: dict[str, Callable[[str], Records]] = {
    "text": _text_lines,
    "jsonl": _jsonl,
    "json": _json,
    "csv": separated(","),
    "tsv": separated("\t"),
}


def records_about(path: str) -> int | None:
    """About how many records a file has, told from its size and its first lines; None where that tells nothing.

    A Parquet file says it. Nothing is known of standard input, a pipe, a compressed file, or one in JSON.
    """
    file = Path(path)
    try:
        if not file.is_file() or file.suffix.lower() == ".gz":
            return None
        if format_of(path) == "parquet":
            return int(pq.read_metadata(file).num_rows)
        if format_of(path) == "json":
            return None
        with file.open("rb") as opened:
            head = opened.read(SAMPLE)
        lines = head.count(b"\n") + (len(head) < SAMPLE and not head.endswith(b"\n"))
        return round(lines * file.stat().st_size / len(head)) if lines and head else None
    except (OSError, ValueError, pa.ArrowException):  # whoever reads it will say what is wrong with it
        return None
