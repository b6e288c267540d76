"""Stage 1, records, for corpora: the documents of a file, a folder, a glob, or a dataset of the Hugging Face hub.

A text file is one document, or with `by_line` each line is one. In any other format each record is one. Records of
several files are numbered consecutively, in the order of the files' names.
"""

import json

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.field_names import is_known
from actkit.pipeline.input.files import STDIN, bytes_of, lines_of, too_long, whole
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.input.json_file import read_array
from actkit.pipeline.input.lines import is_document as is_json
from actkit.pipeline.input.packed import beginning
from actkit.pipeline.input.reader import numbered, read_file, records_of
from actkit.pipeline.input.records import Record, Records, Rejected
from actkit.pipeline.input.sources import InputSource, find


def find_corpus(where: str, split: str = "train") -> InputSource:
    """Find the corpus that `where` names: a file or `-`, a folder (searched), a glob, or a dataset's id on the hub.

    Raises InputError when nothing fits.
    """
    return find(where, split, with_texts=True)


def read_documents(corpus: InputSource, read: ReadSpec | None = None, by_line: bool = False) -> Records:
    """Read every record of `corpus`, numbered consecutively. Raises InputError for a file that cannot be read."""
    read = read or ReadSpec()
    if not corpus.files:
        return records_of(corpus, "jsonl", read)
    return numbered(corpus.files, lambda file: _documents(file, read, by_line))


def is_document(file: str, by_line: bool) -> bool:
    """Whether a whole file is one document."""
    return not by_line and file != STDIN and format_of(file) in (None, "text") and not _are_records(file)


def _are_records(file: str) -> bool:
    """Whether a file whose name tells no format begins with a JSON object that has a usual field."""
    if file == STDIN or format_of(file) is not None:
        return False
    try:
        with bytes_of(file) as lines:
            if is_json(beginning(lines)):
                value = next((value for _, value, _ in read_array(lines, file)), None)
            else:
                value = json.loads(next(lines_of(lines), (0, "", None))[1])
    except (InputError, ValueError, RecursionError):
        return False
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and any(map(is_known, first))


def _documents(file: str, read: ReadSpec, by_line: bool) -> Records:
    if is_document(file, by_line):
        return _whole(file)
    return read_file(file, "text" if by_line and not _are_records(file) else "jsonl", read)


def _whole(file: str) -> Records:
    """Read a text file as one document; line ends stay as they are, since spans count characters."""
    raw = whole(file)
    if raw is None:
        yield Rejected(0, file, 1, None, too_long())
        return
    try:
        yield Record(0, file, None, raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield Rejected(0, file, line, None, "not valid UTF-8")
