"""CSV and TSV, as a stream of records: each a mapping of column to text."""

import csv
import io
from collections.abc import Callable, Iterator

from actkit.errors import InputError
from actkit.pipeline.data import Record, Records, Rejected
from actkit.pipeline.input import files as opened
from actkit.pipeline.input.files import bytes_of, name_of, too_long
from actkit.pipeline.input.json_stream import broken


def separated(delimiter: str) -> Callable[[str], Records]:
    """A reader of CSV or TSV with a header line.

    It raises InputError for a header that cannot be used, quotes that do not close, and a line beyond `opened.MOST`.
    """

    def read(path: str) -> Records:
        name = name_of(path)
        csv.field_size_limit(opened.MOST)  # the default refuses fields over 128 KiB, which documents are
        with bytes_of(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            # Not strict, a quote that is never closed would take in the rest of the file without a word.
            rows = csv.reader(_bounded(text, name), delimiter=delimiter, strict=True)
            line = 1
            try:
                header = _header(next(rows, None), name)
                line = rows.line_num + 1
                for index, row in enumerate(rows):
                    yield _record(index, name, line, header, row)
                    line = rows.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"{name}:{line}: {error}", "check the quotes in the record that begins on this line"
                ) from error

    return read


def _header(columns: list[str] | None, name: str) -> list[str]:
    """The names of the columns. Raises InputError for none, for damaged ones, and for one that is there twice."""
    if not columns:
        raise InputError(f"{name}: there is no header line", "the first line must name the columns")
    if any(broken(column) for column in columns):
        raise InputError(f"{name}:1: the header line is not valid UTF-8", "save it as UTF-8")
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{name}:1: two columns are named {twice[0][:60]!r}", "rename one of them")
    return columns


def _bounded(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines of a text, quoted ones in pieces as they stand. Raises InputError for one beyond `MOST`."""
    number = 0
    while line := text.readline(opened.MOST):
        number += 1
        if len(line) >= opened.MOST and not line.endswith(("\n", "\r")):
            raise InputError(f"{name}:{number}: {too_long()}", "a line is that long; is the file damaged?")
        yield line


def _record(index: int, name: str, line: int, header: list[str], row: list[str]) -> Record | Rejected:
    if not row:
        return Rejected(index, name, line, None, "empty line")
    if len(row) != len(header):
        return Rejected(index, name, line, None, f"{len(row)} fields where the header has {len(header)}")
    for column, value in zip(header, row, strict=True):
        if broken(value):
            return Rejected(index, name, line, column, "not valid UTF-8")
    return Record(index, name, line, dict(zip(header, row, strict=True)))
