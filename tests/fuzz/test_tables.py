"""CSV and TSV, damaged: as many records as the csv module finds rows, up to the damage that hides where rows end."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import strategies as st

from actkit.pipeline.data import Record
from actkit.pipeline.input.dialects import Dialect, dialect_of, is_header, rows_below
from actkit.pipeline.input.files import encoding_of
from actkit.pipeline.input.packed import LOOK
from tests.fuzz.damage import CASES, TEXTS, common, damaged, fuzz, read

FIELDS = TEXTS.filter(lambda text: "\x00" not in text)


@st.composite
def tables(draw: st.DrawFn, delimiter: str) -> tuple[list[tuple[int, list[str]]], bytes, bytes]:
    """Rows with the byte after each, the file, and the file damaged."""
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    buffer = io.StringIO(newline="")
    write = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)
    write.writerow(["a", "b"])
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        row = [draw(FIELDS), draw(FIELDS)]
        if quoting == csv.QUOTE_MINIMAL:  # the writer leaves a lone carriage return unquoted, which ends a row
            row = [field.replace("\r", "") for field in row]
        write.writerow(row)
        rows.append((len(buffer.getvalue().encode()), row))
    data = buffer.getvalue().encode()
    return rows, data, draw(damaged(data))


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("cases", CASES)
def test_every_row_is_a_record_or_rejected_up_to_a_broken_quote(
    tmp_path: Path, cases: int, suffix: str, delimiter: str
) -> None:
    path = tmp_path / f"t.{suffix}"

    def check(case: tuple[list[tuple[int, list[str]]], bytes, bytes]) -> None:
        rows, whole, data = case
        if encoding_of(data[:LOOK]) is not None:
            return
        path.write_bytes(data)
        found, error = read(path)
        expected, fails = rows_in(data, delimiter)
        headed = bool(expected) or not fails  # a name that is the class of rows below it is no name
        if _dialect(data, delimiter) != _dialect(whole, delimiter):  # damage made quotes characters of the text
            headed = False
        for (end, row), record in zip(rows if headed else (), [*found, *[None] * len(rows)], strict=False):
            if end > common(whole, data):
                break
            assert isinstance(record, Record) and list(record.value.values()) == row
        if error is None or fails:
            assert len(found) == len(expected)
            assert (error is None) == (not fails)

    fuzz(cases, tables(delimiter), check)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig", "surrogateescape").lstrip("\r\n")


def _dialect(data: bytes, delimiter: str) -> Dialect:
    return dialect_of(_decoded(data), delimiter, whole=True)


def rows_in(data: bytes, delimiter: str) -> tuple[list[list[str]], bool]:
    """The rows after the header that the csv module finds, and whether it gives up after them."""
    decoded, dialect = _decoded(data), _dialect(data, delimiter)
    rows = csv.reader(io.StringIO(decoded, newline=""), **dialect.options())
    found: list[list[str]] = []
    try:
        header = next(rows, None) or []
        named = [cell for cell in header if cell or len(header) == 1]  # a column without a name gets one
        broken = any("\udc80" <= character <= "\udcff" for character in "".join(header))
        if not header or len(set(named)) < len(named) or broken or not is_header(header, rows_below(decoded, dialect)):
            return [], True
        found.extend(rows)  # what comes before an error stays
    except csv.Error:
        return found, True
    return found, False
