"""Read CSV and TSV as a stream of records, each a mapping of columns to texts."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import IO

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input import files as opened
from actkit.pipeline.input.dialects import SAMPLE, SEP, dialect_of, is_header, rows_below
from actkit.pipeline.input.files import bytes_of, name_of, too_long
from actkit.pipeline.input.json_stream import broken
from actkit.pipeline.input.packed import DAMAGED
from actkit.pipeline.input.records import Record, Records, Rejected

SHOWN = 30
"""Most characters of a cell that an error shows."""


def read_delimited(path: str, read: ReadSpec, usual: str) -> Records:
    """Read the rows after the header line, or all rows if `read` names the columns; `usual` is the format's delimiter.

    Raises InputError for a missing or unusable header, quotes that do not close, and a line longer than `files.MOST`.
    """
    with bytes_of(path) as file:
        yield from rows_of(file, name_of(path), read, usual)


def rows_of(file: IO[bytes], name: str, read: ReadSpec, usual: str) -> Records:
    """Read the rows of an open file; see `read_delimited`."""
    csv.field_size_limit(opened.MOST)  # the default refuses fields over 128 KiB, which documents are
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _bounded(text, name)
    sample, rest = _sampled(lines)
    dialect = dialect_of("".join(sample), usual, whole=sum(map(len, sample)) < SAMPLE)
    skipped = _before_header(sample)
    rows = csv.reader(itertools.chain(sample[skipped:], rest), **dialect.options())
    line_number = skipped + 1
    try:
        below = rows_below("".join(sample[skipped:]), dialect)
        header, first = _header(next(rows, None), below, read.column_names(), name, line_number)
        if first is not None:
            yield _record(0, name, line_number, header, first)
        line_number = skipped + rows.line_num + 1
        for index, row in enumerate(rows, first is not None):
            yield _record(index, name, line_number, header, row)
            line_number = skipped + rows.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}:{line_number}: {error}", "check the quotes in the record that begins on this line"
        ) from error
    finally:
        text.detach()  # whoever opened the file closes it; standard input stays open


def _sampled(lines: Iterator[str]) -> tuple[list[str], Iterator[str]]:
    """Return the first lines, and an iterator over the others; an error of damage comes only after the lines before."""
    sample: list[str] = []
    size = 0
    failed: Exception | None = None
    try:
        while size < SAMPLE and (line := next(lines, None)) is not None:
            sample.append(line)
            size += len(line)
    except (InputError, OSError, *DAMAGED) as error:
        failed = error

    def rest() -> Iterator[str]:
        if failed is not None:
            raise failed
        yield from lines

    return sample, rest()


def _before_header(sample: Sequence[str]) -> int:
    """Return the number of lines before the header: empty lines, and the line that tells Excel the delimiter."""
    number = 0
    while number < len(sample) and (not sample[number].strip("\r\n") or (number == 0 and sample[0].startswith(SEP))):
        number += 1
    return number


def _header(
    row: list[str] | None, below: list[list[str]], given: Sequence[str], name: str, line: int
) -> tuple[list[str], list[str] | None]:
    """Return the names of the columns, and the first row if it is data, as it is where `given` names the columns.

    Raises InputError for a missing header, damaged or repeated names, and a first line that is data.
    """
    if not row:
        raise InputError(f"{name}: there is no header line", "the first line must name the columns")
    if given:
        return _given(row, list(given), name, line), row
    if any(broken(column) for column in row):
        raise InputError(f"{name}:{line}: the header line is not valid UTF-8", "save it as UTF-8")
    columns = [column or f"column_{number}" if len(row) > 1 else column for number, column in enumerate(row, 1)]
    if not is_header(row, below):
        shown = ", ".join(repr(cell[:SHOWN] + "…" * (len(cell) > SHOWN)) for cell in row[:2])
        names = ",".join(_proposed(row))
        raise InputError(
            f"{name}:{line}: the first line is data, not the names of columns ({shown})",
            f"name its {len(row)} columns, in order: --columns {names}",
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{name}:{line}: two columns are named {twice[0][:SHOWN]!r}", "rename one of them")
    return columns, None


WORDS = 3
"""Most words of a label; a longer cell is another text."""
CLASS = 3
"""Most characters of a number that is a class or a grade."""


def _given(row: Sequence[str], columns: list[str], name: str, line: int) -> list[str]:
    if [cell.strip() for cell in row] == columns:
        raise InputError(f"{name}:{line}: the first line names these columns already", "leave out --columns")
    if len(row) != len(columns):
        raise InputError(
            f"{name}:{line}: {len(row)} fields where --columns names {len(columns)}", f"name {len(row)}, in order"
        )
    if len(set(columns)) < len(columns) or not all(columns):
        raise InputError(f"--columns {','.join(columns)}: each column needs a name of its own", "such as text,label,id")
    return columns


def _proposed(row: Sequence[str]) -> list[str]:
    """Propose names for the columns of a first row: text for the longest cell, label for a class number or a word.

    A long number, or letters with digits, are more likely an id.
    """
    longest = max(range(len(row)), key=lambda number: len(row[number]))
    short = [number for number in range(len(row)) if number != longest]
    digits = [number for number in short if row[number].replace(",", "").strip("+-").isdigit()]
    classes = [number for number in digits if all(len(value) <= CLASS for value in row[number].split(","))]
    words = [number for number in short if row[number].strip().replace("_", "").isalpha()]
    brief = [number for number in short if len(row[number].split()) <= WORDS]
    label = next(iter((*classes, *words, *digits, *brief)), None)
    names = {longest: "text", label: "label"}
    return [names.get(number, f"column_{number + 1}") for number in range(len(row))]


def _bounded(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """Yield the lines of a text, also those inside quoted fields. Raises InputError for one longer than `MOST`."""
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
