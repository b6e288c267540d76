"""Detect the dialect of a delimited file from its beginning: delimiter, quotes, and whether a header names columns.

Delimiters are comma, semicolon (Excel in much of Europe), tab and bar. Quotes are doubled, or escaped with a backslash
(MySQL, Spark), or have no meaning, as in most TSV files. The first dialect in which all rows of the sample have equally
many fields is taken.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actkit.pipeline.input.field_names import is_known, is_usual

SAMPLE = 1 << 17
"""Characters of the beginning by which the dialect is detected."""
DELIMITERS = (",", "\t", ";", "|")
SEP = "sep="
"""The beginning of a first line that tells Excel the delimiter."""
LONG = 60
"""Most characters of a column's name."""
LABEL_WORDS = frozenset(("positive", "negative", "neutral", "pos", "neg", "true", "false", "yes", "no"))
"""Values of cells in rows without a header; columns seldom have such names."""


@dataclass(frozen=True)
class Dialect:
    """The characters that separate and quote the fields of a row."""

    delimiter: str
    quoting: int = csv.QUOTE_MINIMAL
    escape: str | None = None
    skip_space: bool = False

    def options(self) -> dict[str, Any]:
        """Return the options for csv's reader: strict, since a quote that is never closed would swallow the rest."""
        return {
            "delimiter": self.delimiter,
            "quoting": self.quoting,
            "escapechar": self.escape,
            "doublequote": self.escape is None,
            "skipinitialspace": self.skip_space,
            "strict": True,
        }


def dialect_of(sample: str, usual: str, whole: bool) -> Dialect:
    """Return the dialect of a file that begins with `sample`; its suffix tells the `usual` delimiter.

    `whole` says that the sample is the whole file. Where no dialect fits, the usual one is taken, and reading by it
    raises the error.
    """
    first = sample.partition("\n")[0].strip("\r")
    given = first[len(SEP) :] if first.startswith(SEP) else ""
    lines = sample if whole else sample.rpartition("\n")[0]
    body = lines.partition("\n")[2] if given else lines
    delimiters = [given] if len(given) == 1 else sorted(DELIMITERS, key=lambda delimiter: delimiter != usual)
    ways = [way for delimiter in delimiters for way in _ways(delimiter, usual, body)]
    fitting = (way for way in ways if _width(body, way) > 1)
    one_column = (way for way in ways if way.delimiter == delimiters[0] and _width(body, way) == 1)
    return next(fitting, None) or next(one_column, Dialect(delimiters[0]))


def _ways(delimiter: str, usual: str, sample: str) -> list[Dialect]:
    """Return the dialects with one delimiter, the most usual first."""
    ways = [Dialect(delimiter)]
    if '\\"' in sample:
        ways.append(Dialect(delimiter, escape="\\"))
    ways.append(Dialect(delimiter, skip_space=True))
    # Quotes around a whole field of the first line have their meaning, even if a later one is broken.
    fields = sample.lstrip("\r\n").partition("\n")[0].strip("\r").split(delimiter)
    is_quoted = any(len(field) > 1 and field[0] == field[-1] == '"' for field in fields)
    return [*ways, Dialect(delimiter, csv.QUOTE_NONE)] if usual == "\t" and not is_quoted else ways


def _width(sample: str, way: Dialect) -> int:
    """Return the number of fields of every row of the sample; 0 where rows differ, or a quote is broken."""
    rows = csv.reader(io.StringIO(sample, newline=""), **way.options())
    widths: list[int] = []
    try:
        widths.extend(len(row) for row in rows if row)
    except csv.Error as error:
        # The sample may end inside a quoted field.
        if "unexpected end of data" not in str(error) or len(widths) < 2:
            return 0
    return widths[0] if len(set(widths)) == 1 else 0


SENTENCE, MANY_WORDS = 3, 10
"""Fewest words of a cell that is a sentence and no column's name: with a full stop at its end, and without."""


def rows_below(sample: str, way: Dialect) -> list[list[str]]:
    """Return the rows of a sample after its first, as far as they can be read."""
    found: list[list[str]] = []
    with suppress(csv.Error):  # for a quote that is broken, or open where the sample ends
        found.extend(row for row in csv.reader(io.StringIO(sample, newline=""), **way.options()) if row)
    return found[1:]


def is_header(row: Sequence[str], below: Sequence[Sequence[str]] = ()) -> bool:
    """Whether the first row names columns and is not data, judged with some of the rows `below` it.

    A known name alone does not show it: a sentence may have the word answer in it, `positive` may be a label, and
    `Great answer` next to a class number is a title.
    """
    classed = _has_class(row, below) and any(map(_is_number, row))
    known = [cell for cell in row if (is_usual if classed else is_known)(cell) and not _is_sentence(cell)]
    if len(known) > 1 or any(cell.strip().lower() not in LABEL_WORDS for cell in known):
        return True
    return not _has_class(row, below) and not any(
        _is_number(cell)
        or len(cell) > LONG
        or _is_sentence(cell)
        or (cell not in known and cell.strip().lower() in LABEL_WORDS)
        for cell in row
    )


def _has_class(row: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a cell of the row has one of its column's few values, as a class does. Repeated headers do not count."""
    rows = [other for other in below if len(other) == len(row) and list(other) != list(row)]
    for number, cell in enumerate(row):
        values = Counter(other[number] for other in rows)
        if cell.strip() and cell in values and 2 * len(values) <= len(rows) + 2:
            return True
    return False


def _is_sentence(cell: str) -> bool:
    """Whether a cell is a sentence; a question may be the name of a survey's column."""
    words, end = len(cell.split()), cell.rstrip()[-1:]
    return (words >= SENTENCE and end in ".!") or (words >= MANY_WORDS and end != "?")


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ""))  # `4,27` are class numbers
    except ValueError:
        return False
    return True
