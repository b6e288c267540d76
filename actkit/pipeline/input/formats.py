"""The formats of input files, as a table: an entry adds a reader, its suffixes, its counting, its place in helps."""

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input import packed
from actkit.pipeline.input.arrow import count_arrow, count_parquet, read_arrow, read_parquet
from actkit.pipeline.input.delimited import read_delimited
from actkit.pipeline.input.json_file import read_array, read_json
from actkit.pipeline.input.lines import read_jsonl, read_lines
from actkit.pipeline.input.records import Records
from actkit.remote.url import file_name

SAMPLE = 1 << 20
"""Bytes at the beginning of a file from which the number of its records is estimated."""


def count_lines(path: Path) -> int | None:
    """Estimate the number of a file's lines by its size and its first lines; None for an empty file."""
    head, share = _head(path)
    end = b"\n" if b"\n" in head else b"\r"
    lines = head.count(end) + (share == 1 and not head.endswith(end))
    return round(lines / share) if lines and head else None


def count_elements(path: Path) -> int | None:
    """Estimate the number of elements of a JSON array likewise; None for any other file."""
    head, share = _head(path)
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return None
    found = 0
    with suppress(InputError):  # the sample ends somewhere inside
        for _ in read_array(io.BytesIO(head), str(path)):
            found += 1
    return round(found / share) if found else None


def _head(path: Path) -> tuple[bytes, float]:
    """Return the first bytes of a file, unpacked, and their share of the file."""
    with path.open("rb") as raw:
        packing = packed.packing_of(str(path), raw.read(packed.LOOK))
        raw.seek(0)
        opened = raw if packing is None else packing.unpack(raw)
        head = opened.read(SAMPLE)
        return head, 1.0 if len(head) < SAMPLE else raw.tell() / path.stat().st_size


@dataclass(frozen=True)
class Format:
    """One format of files."""

    name: str
    title: str
    """The format's usual name."""
    suffixes: tuple[str, ...]
    read: Callable[[str, ReadSpec], Records]
    count: Callable[[Path], int | None] = count_lines
    """Estimate the number of records without reading them all; may raise pyarrow's errors."""


FORMATS = (
    Format("jsonl", "JSONL", (".jsonl", ".ndjson", ".jsonlines"), read_jsonl),
    Format("json", "JSON", (".json",), read_json, count_elements),
    Format("csv", "CSV", (".csv",), partial(read_delimited, usual=",")),
    Format("tsv", "TSV", (".tsv", ".tab"), partial(read_delimited, usual="\t")),
    Format("parquet", "Parquet", (".parquet", ".pq"), read_parquet, count_parquet),
    Format("arrow", "Arrow", (".arrow", ".feather", ".ipc"), read_arrow, count_arrow),
    Format("text", "text", (".txt", ".text", ".md"), read_lines),
)
RECORDS = tuple(form for form in FORMATS if form.name != "text")
"""The formats whose records may have fields."""


*TITLES, LAST_TITLE = (form.title for form in RECORDS)
HELP = f"{', '.join(TITLES)} or {LAST_TITLE}, plain or compressed ({packed.SHOWN}, .zip)"
"""The formats of records, for help texts."""
ALSO = (
    "a folder or quoted glob of them, also at s3://, gs://, az:// or https://, or a dataset of the Hugging Face hub "
    "(owner/name, hf://datasets/…)"
)
SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)


def format_called(name: str) -> Format:
    """Return the format with a name."""
    return next(form for form in FORMATS if form.name == name)


def format_of(path: str) -> str | None:
    """Return the format by a file's suffix, ignoring that of a packing; None for an unknown suffix."""
    suffixes = [suffix.lower() for suffix in Path(file_name(path)).suffixes]
    last = next((suffix for suffix in reversed(suffixes) if suffix not in packed.SUFFIXES), "")
    return next((form.name for form in FORMATS if last in form.suffixes), None)
