"""Stage 1, records, for corpora: the documents of a file, a directory, a glob, or a dataset of the Hugging Face hub.

A text file is one document, or with `by_line` one a line; a record of any other format is one. Records of several
files are numbered through, in the order of the files' names.
"""

import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actkit.backends.names import is_hub_id
from actkit.errors import InputError
from actkit.pipeline.data import Record, Records, Rejected
from actkit.pipeline.input.files import STDIN, UTF_16, check_name, shown, too_long, whole
from actkit.pipeline.input.hub import explained, rows_of
from actkit.pipeline.input.reader import FORMATS, format_of, read_records
from actkit.runs.paths import is_run, is_unfinished_run

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
"""`owner/name`, or `owner/name:configuration`."""
LISTED = 5
"""How many files' names an error shows."""


@dataclass(frozen=True)
class Corpus:
    """Where documents come from: files in order, or one dataset of the hub."""

    files: tuple[str, ...]
    dataset: str | None = None
    ignored: int = 0
    """Files of a directory that are in no format that can be read."""
    rows: Iterable[Any] | None = field(default=None, compare=False, repr=False)
    """The rows of one split of the dataset, once it has been opened."""

    def facts(self) -> dict[str, Any]:
        """What was found, for `run.json`."""
        if self.dataset is not None:
            return {"dataset": self.dataset}
        return {"files": len(self.files)} | ({"ignored_files": self.ignored} if self.ignored else {})


def find_corpus(where: str) -> Corpus:
    """What `where` means: a file or `-`, a directory (searched through), a glob, or else a dataset's id on the hub.

    Raises InputError when nothing fits.
    """
    if where == STDIN:
        return Corpus((where,))
    try:
        return _find(where)
    except OSError:  # a whole text given where a path belongs is too long a name
        read_records(where)  # raises, and says so
        raise


def _find(where: str) -> Corpus:
    path = Path(where)
    if path.exists() and not path.is_dir():  # a named pipe is no regular file
        return Corpus((where,))
    if path.is_dir():
        every = sorted(one for one in path.rglob("*") if one.is_file() and not _hidden(one.relative_to(path)))
        known = tuple(str(one) for one in _outside_runs(every, path) if format_of(str(one)) is not None)
        if not known:
            some = ", ".join(one.name for one in every[:LISTED])
            raise InputError(f"{where}: no file that can be read{f' (it has {some})' if some else ''}", _formats())
        return Corpus(known, ignored=len(every) - len(known))
    if glob.has_magic(where):
        names = glob.glob(where, recursive=True)  # noqa: PTH207 - patterns may be absolute, which Path.glob refuses
        # A link, or two stars in a row, may lead to one file by several names.
        files = [Path(one) for one in sorted(names, reverse=True) if Path(one).is_file()]
        once = {one.resolve(): str(one) for one in _outside_runs(files, _before_magic(where))}
        found = tuple(sorted(once.values()))
        if not found:
            raise InputError(f"{shown(where)}: no file matches", "quote the pattern, so that the shell leaves it alone")
        return Corpus(found)
    if HUB_ID.fullmatch(where) and format_of(where) is None and is_hub_id(where.partition(":")[0]):
        return Corpus((), dataset=where)
    read_records(where)  # raises, naming the files that are near
    raise InputError(f"{shown(where)}: no such file", _formats())


def _outside_runs(files: Iterable[Path], root: Path) -> list[Path]:
    """The files that are in no run of actkit's below `root`: a corpus must not grow by what was made of it.

    Raises InputError for a name that is no text.
    """
    runs: dict[Path, bool] = {}
    kept = []
    for file in files:
        within = [one for one in file.parents if one != root and root in one.parents]
        for folder in within:
            if folder not in runs:
                runs[folder] = is_run(folder) or is_unfinished_run(folder)
        if not any(runs[folder] for folder in within):
            check_name(str(file))
            kept.append(file)
    return kept


def _before_magic(pattern: str) -> Path:
    """The folder that a glob begins in."""
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1])
    return Path(*fixed)


def opened(corpus: Corpus, split: str = "train") -> Corpus:
    """The corpus with a dataset of the hub looked up, so that whatever is wrong with it is known before models load.

    Raises InputError for one that is not there, or has no such configuration or split, or cannot be reached.
    """
    return corpus if corpus.dataset is None else replace(corpus, rows=rows_of(corpus.dataset, split))


def read_documents(corpus: Corpus, split: str = "train", by_line: bool = False) -> Records:
    """Every record of `corpus`, numbered through. Raises InputError for what cannot be read at all."""
    found = _hub(corpus, split) if corpus.dataset is not None else _files(corpus.files, by_line)
    for number, record in enumerate(found):
        yield replace(record, record_id=number)


def _files(files: tuple[str, ...], by_line: bool) -> Iterator[Record | Rejected]:
    for file in files:
        whole = not by_line and file != STDIN and format_of(file) in (None, "text")
        yield from _whole(file) if whole else read_records(file, default_format="text" if by_line else "jsonl")


def _whole(file: str) -> Records:
    """A text file as one document; its line ends stay as they are, since characters are counted."""
    raw = whole(file)
    if raw is None:
        yield Rejected(0, file, 1, None, too_long())
        return
    if raw.startswith(UTF_16):
        raise InputError(f"{file}: this is UTF-16", "save it as UTF-8")
    try:
        yield Record(0, file, None, raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield Rejected(0, file, line, None, "not valid UTF-8")


def _hub(corpus: Corpus, split: str) -> Records:
    dataset = str(corpus.dataset)
    rows = rows_of(dataset, split) if corpus.rows is None else corpus.rows
    with explained(dataset):
        for index, row in enumerate(rows):
            yield Record(index, dataset, None, row)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _formats() -> str:
    return f"files end in {', '.join(FORMATS)}, plain or .gz"
