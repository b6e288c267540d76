"""CSV and TSV read by their own functions: every row is a record or a rejection, and its line is that of the file."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input import files
from actkit.pipeline.input.delimited import SHOWN, read_delimited
from actkit.pipeline.input.dialects import is_header
from actkit.pipeline.input.records import Record, Rejected


def rows(path: Path, text: str, columns: str | None = None) -> list[Any]:
    """(line, value) of a record, (line, field, reason) of a rejection."""
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    usual = "\t" if path.suffix == ".tsv" else ","
    found = list(read_delimited(str(path), ReadSpec(columns=columns), usual))
    assert [record.record_id for record in found] == list(range(len(found)))
    return [
        (record.line, record.value) if isinstance(record, Record) else (record.line, record.field, record.reason)
        for record in found
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.csv"


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from([",", "\t", ";"]))
def test_whatever_is_written_as_csv_is_read_with_its_lines(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], delimiter: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("prompt", "response"), *cells])
    folder = tmp_path_factory.getbasetemp() / "delimited"
    folder.mkdir(exist_ok=True)
    found = rows(folder / f"in.{'tsv' if delimiter == chr(9) else 'csv'}", out.getvalue())
    line, expected = 2, []
    for prompt, response in cells:
        expected.append((line, {"prompt": prompt, "response": response}))
        line += 1 + prompt.count("\n") + response.count("\n")
    assert found == expected


def test_rows_that_do_not_fit_the_header_are_rejected_where_they_stand(path: Path) -> None:
    text = 'text,label\none,1\n\ntwo\nthree,"x\ny"\nfour,4,5\nfive\udcff,5\n'
    assert rows(path, text) == [
        (2, {"text": "one", "label": "1"}),
        (3, None, "empty line"),
        (4, None, "1 fields where the header has 2"),
        (5, {"text": "three", "label": "x\ny"}),
        (7, None, "3 fields where the header has 2"),
        (8, "text", "not valid UTF-8"),
    ]


def test_what_stands_before_the_header_is_passed_over(path: Path) -> None:
    assert rows(path, "sep=;\n\ntext;label\na;1\n") == [(4, {"text": "a", "label": "1"})]
    assert rows(path, "\n\r\n\ntext,label\na,1\n") == [(5, {"text": "a", "label": "1"})]
    assert rows(path, "\ufefftext,label\na,1\n") == [(2, {"text": "a", "label": "1"})]
    assert rows(path, "text,,label\na,b,1\n") == [(2, {"text": "a", "column_2": "b", "label": "1"})]


def test_given_columns_take_the_first_line_as_data(path: Path) -> None:
    assert rows(path, "a word,3\nanother,4\n", "text,label") == [
        (1, {"text": "a word", "label": "3"}),
        (2, {"text": "another", "label": "4"}),
    ]


def error(path: Path, text: str, columns: str | None = None) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        rows(path, text, columns)
    return caught.value.message.replace(str(path), "FILE").replace(path.name, "FILE"), caught.value.hint


LONG = "x" * (SHOWN + 1)


@pytest.mark.parametrize(
    ("text", "columns", "says", "hint"),
    [
        ("", None, "FILE: there is no header line", "the first line must name the columns"),
        ("\n\n", None, "FILE: there is no header line", "the first line must name the columns"),
        ("te\udcff,label\n", None, "FILE:1: the header line is not valid UTF-8", "save it as UTF-8"),
        ("a,a\n1,2\n", None, "FILE:1: two columns are named 'a'", "rename one of them"),
        (f"{LONG},{LONG}\n1,2\n", None, f"FILE:1: two columns are named '{LONG[:SHOWN]}'", "rename one of them"),
        (
            "text,label\nb,2\n",
            "text,label",
            "FILE:1: the first line names these columns already",
            "leave out --columns",
        ),
        ("a,1\n", "text", "FILE:1: 2 fields where --columns names 1", "name 2, in order"),
        ("a,1\n", "text,text", "--columns text,text: each column needs a name of its own", "such as text,label,id"),
        ("a,1\n", "text,", "--columns text,: each column needs a name of its own", "such as text,label,id"),
        (
            'text,label\na,1\n"b,2\n',
            None,
            "FILE:3: unexpected end of data",
            "check the quotes in the record that begins on",
        ),
    ],
)
def test_what_cannot_be_read_is_said(path: Path, text: str, columns: str | None, says: str, hint: str) -> None:
    found = error(path, text, columns)
    assert found[0] == says and found[1].startswith(hint)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("This is a sentence that somebody said.,1", "text,label"),
        ("4,This is a sentence that somebody said.", "label,text"),
        ("10394857,This is a sentence that somebody said.,positive", "column_1,text,label"),
        ("1029384756,This is a sentence that somebody said.,2", "column_1,text,label"),
        ("This is a sentence that somebody said.,a1b2,10394857", "text,column_2,label"),
        ("This is a sentence that somebody said.,Another of a few words here.", "text,column_2"),
        ('This is a sentence that somebody said.,"4,27"', "text,label"),
    ],
)
def test_names_are_proposed_for_a_file_without_a_header(path: Path, line: str, names: str) -> None:
    says, hint = error(path, f"{line}\n" * 3)
    assert says.startswith("FILE:1: the first line is data, not the names of columns (") and "…" in says
    assert hint == f"name its {names.count(',') + 1} columns, in order: --columns {names}"
    assert len(rows(path, f"{line}\n" * 3, names)) == 3


def test_a_line_without_end_is_refused_and_what_stands_before_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST", 200)
    path.write_text("text,label\n" + "short,1\n" * 3 + "x" * 500 + ",2\n")
    found = read_delimited(str(path), ReadSpec(), ",")
    assert [next(found).line for _ in range(3)] == [2, 3, 4]
    with pytest.raises(InputError, match="in.csv:5: ") as caught:
        next(found)
    assert caught.value.hint == "a line is that long; is the file damaged?"


def test_damage_is_met_after_the_rows_before_it(tmp_path: Path) -> None:
    import gzip

    data = gzip.compress(("text,label\n" + "".join(f"text {n},{n}\n" for n in range(50000))).encode())
    (tmp_path / "in.csv.gz").write_bytes(data[: len(data) // 2])
    found = read_delimited(str(tmp_path / "in.csv.gz"), ReadSpec(), ",")
    first = next(found)
    assert isinstance(first, Record) and (first.line, first.value) == (2, {"text": "text 0", "label": "0"})
    with pytest.raises(InputError):  # noqa: PT012 - what comes before is looked at
        for record in found:
            assert not isinstance(record, Rejected)


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("text,label", True),
        ("positive,negative", True),
        ("anchor,positive", True),
        ("x,positive", True),
        ("Best Answer,n", True),
        ("How good was the answer to your question in the end?,1", True),  # a survey's column
        ("The answer was clear.,positive", False),
        ("The answer was clear.,id", True),
        ("The answer was clear.,Somebody", False),
        ("3,positive", False),
        ("a word,yes", False),
    ],
)
def test_a_first_line_is_a_header_by_what_its_cells_are(line: str, is_one: bool) -> None:
    assert is_header(line.split(",")) is is_one


@pytest.mark.parametrize(
    ("lines", "is_one"),
    [
        ("I love it,joy|Hate it,anger|So good,joy|Very bad,anger", False),
        ("I love it,positive|Hate it,negative|So good,positive", False),
        ("What I wrote,joy|Hate it,anger|So good,fear", True),  # a column of an emotion
        ("What I wrote,mood|Hate it,joy|What I wrote,mood|So good,joy", True),  # two files, one after the other
        ("What I wrote,word|a,word|b,cat|c,dog|d,bird", True),  # a list of words has this one too
        ("text,label|a,label|b,label|c,x", True),
    ],
)
def test_a_first_line_with_a_class_of_the_lines_below_is_data(lines: str, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(lines.replace("|", "\n") + "\n")
    if is_one:
        assert len(list(read_delimited(str(tmp_path / "in.csv"), ReadSpec(), ","))) == lines.count("|")
    else:
        with pytest.raises(InputError, match="the first line is data") as caught:
            list(read_delimited(str(tmp_path / "in.csv"), ReadSpec(), ","))
        assert caught.value.hint == "name its 2 columns, in order: --columns text,label"


@pytest.mark.parametrize(
    ("line", "is_one"), [("2,Great answer,Fine.", False), ("2,title,text", True), ("label,Great answer,Fine.", True)]
)
def test_beside_a_class_of_the_rows_below_a_title_is_no_name_though_a_word_of_it_is_one(
    line: str, is_one: bool
) -> None:
    below = [[str(1 + number % 2), f"Title {number}", f"Text {number}."] for number in range(8)]
    assert is_header(line.split(","), below) is is_one
