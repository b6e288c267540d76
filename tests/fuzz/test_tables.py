"""CSV and TSV, damaged: as many records as the csv module finds rows, up to the damage that hides where rows end."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import strategies as st

from actkit.pipeline.data import Record
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


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("cases", CASES)
def test_every_row_is_a_record_or_rejected_up_to_a_broken_quote(
    tmp_path: Path, cases: int, suffix: str, delimiter: str
) -> None:
    path = tmp_path / f"t.{suffix}"

    def check(case: tuple[list[tuple[int, list[str]]], bytes, bytes]) -> None:
        rows, whole, data = case
        path.write_bytes(data)
        found, error = read(path)
        for (end, row), one in zip(rows, [*found, *[None] * len(rows)], strict=False):
            if end > common(whole, data):
                break
            assert isinstance(one, Record) and list(one.value.values()) == row
        expected, fails = rows_in(data, delimiter)
        if error is None or fails:
            assert len(found) == len(expected)
            assert (error is None) == (not fails)

    fuzz(cases, tables(delimiter), check)


def rows_in(data: bytes, delimiter: str) -> tuple[list[list[str]], bool]:
    """The rows after the header that the csv module finds, and whether it gives up after them."""
    text = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    found: list[list[str]] = []
    try:
        header = next(rows, None)
        usable = bool(header) and len(set(header or [])) == len(header or [])
        if not usable or any("\udc80" <= one <= "\udcff" for one in "".join(header or [])):
            return [], True
        found.extend(rows)  # what comes before an error stays
    except csv.Error:
        return found, True
    return found, False
