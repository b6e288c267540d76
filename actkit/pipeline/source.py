"""Stage 1, records: read JSONL, JSON, CSV, TSV, Parquet or lines of text, plain or .gz, as a stream.

Every record read is yielded exactly once, as a `Record` or as a `Rejected`: a bad line never stops the ones after it.
Files whose structure itself is broken (an array cut off in the middle, a damaged gzip) raise InputError, since what
follows cannot be told apart.
"""

import csv
import difflib
import gzip
import io
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.json_stream import JsonStream, short

Records = Generator[Record | Rejected, None, None]
STDIN = "-"
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
    format_name = (None if path == STDIN else format_of(path)) or default_format
    if path != STDIN and not _is_file(Path(path)):
        raise InputError(f"{path}: no such file", _hint_for_missing(Path(path)))
    if format_name == "parquet":
        return _parquet(path)
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


def _name(path: str) -> str:
    return "<stdin>" if path == STDIN else path


@contextmanager
def bytes_of(path: str) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of a file or of standard input."""
    try:
        if path == STDIN:
            yield sys.stdin.buffer
        elif path.lower().endswith(".gz"):
            with gzip.open(path, "rb") as file:
                yield cast("IO[bytes]", file)
        else:
            with Path(path).open("rb") as file:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the gzip data is damaged or cut off ({error})", "fetch or compress the file again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", "check that the file can be read") from error


def _lines(path: str) -> Iterator[tuple[int, str | None]]:
    """Line number and text of every line; None for a line that is not UTF-8."""
    with bytes_of(path) as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise InputError(f"{_name(path)}: this is UTF-16", "save it as UTF-8")
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None


def _text_lines(path: str) -> Records:
    for index, (number, line) in enumerate(_lines(path)):
        if line is None:
            yield Rejected(index, _name(path), number, None, "not valid UTF-8")
        elif not line.strip():
            yield Rejected(index, _name(path), number, None, "empty line")
        else:
            yield Record(index, _name(path), number, line)


def _jsonl(path: str) -> Records:
    for line in _text_lines(path):
        try:
            yield line if isinstance(line, Rejected) else replace(line, value=json.loads(line.value))
        except (ValueError, RecursionError) as error:
            yield Rejected(line.record_id, line.source, line.line, None, f"not JSON: {short(error)}")


def _json(path: str) -> Records:
    """The elements of a JSON array, or JSON values one after another; never more than one in memory."""
    with bytes_of(path) as file:
        text = JsonStream(io.TextIOWrapper(file, encoding="utf-8-sig"), _name(path))
        in_array = text.skip("[")
        index = 0
        while not text.at_end(closing="]" if in_array else ""):
            line = text.line
            yield Record(index, _name(path), line, text.value())
            index += 1
            text.skip(",")
        if in_array:
            text.close_array()


def _separated(delimiter: str) -> Callable[[str], Records]:
    """A reader of CSV or TSV with a header line; each record is a mapping of column to text."""

    def read(path: str) -> Records:
        csv.field_size_limit(2**31 - 1)  # the default refuses fields over 128 KiB, which documents are
        with bytes_of(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            # Not strict, a quote that is never closed would take in the rest of the file without a word.
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            line = 1
            try:
                header = next(rows, None)
                if not header:
                    raise InputError(f"{_name(path)}: there is no header line", "the first line must name the columns")
                if any(_broken(column) for column in header):
                    raise InputError(f"{_name(path)}:1: the header line is not valid UTF-8", "save it as UTF-8")
                twice = sorted({column for column in header if header.count(column) > 1})
                if twice:
                    raise InputError(f"{_name(path)}:1: two columns are named {twice[0]!r}", "rename one of them")
                line = rows.line_num + 1
                for index, row in enumerate(rows):
                    yield _csv_record(index, _name(path), line, header, row)
                    line = rows.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"{_name(path)}:{line}: {error}", "check the quotes in the record that begins on this line"
                ) from error

    return read


def _csv_record(index: int, name: str, line: int, header: list[str], row: list[str]) -> Record | Rejected:
    if not row:
        return Rejected(index, name, line, None, "empty line")
    if len(row) != len(header):
        return Rejected(index, name, line, None, f"{len(row)} fields where the header has {len(header)}")
    for column, value in zip(header, row, strict=True):
        if _broken(value):
            return Rejected(index, name, line, column, "not valid UTF-8")
    return Record(index, name, line, dict(zip(header, row, strict=True)))


def _broken(text: str) -> bool:
    """Whether bytes that are not UTF-8 were read into `text`, as surrogateescape marks them."""
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def _parquet(path: str) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            index = 0
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield Record(index, path, None, row)
                    index += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})", "write the file again"
        ) from error


_READERS: dict[str, Callable[[str], Records]] = {
    "text": _text_lines,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
}
