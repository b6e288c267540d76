"""Stage 1, records: the bytes and lines of one file, with an end to how much of it is held at once.

UTF-16 and UTF-32, which PowerShell and Excel write, are decoded into a stream of UTF-8.
A compressed file of a few megabytes can hold a line of many gigabytes; whatever is longer than `MOST` is not read into
memory.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from actkit.errors import InputError
from actkit.pipeline.input.hub_files import HUB, hub_bytes
from actkit.pipeline.input.packed import DAMAGED, PIECE, beginning, buffered, check_text, damaged, packing_of
from actkit.pipeline.input.zip_members import inside, member_bytes
from actkit.remote.reading import remote_bytes
from actkit.remote.url import file_name, public, publicly, scheme_of

MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte-order marks; those of UTF-32 begin as those of UTF-16 do."""
NO_TEXT = b"\xff"
"""A byte that no UTF-8 has: it stands for what could not be decoded, so that its line is rejected."""
LEAST = 32
"""Fewest bytes that show UTF-16 without a mark: every other byte is zero."""
STDIN = "-"
MOST = 1 << 26
"""Bytes, or characters, of one record; a longer one is no record but a damaged or hostile file."""
BLOCK = 1 << 20
"""Bytes read at a time of what is passed over."""
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
"""A token of the Hugging Face hub."""


def encoding_of(start: bytes) -> str | None:
    """The encoding that a file's beginning tells, where that is not UTF-8."""
    marked = next((codec for mark, codec in MARKS if start.startswith(mark)), None)
    if marked is not None or len(start) < LEAST or len(start) % 2:
        return marked
    low, high = start[::2], start[1::2]
    if not any(high) and all(low):
        return "utf-16-le"
    return "utf-16-be" if not any(low) and all(high) else None


def as_utf_8(file: IO[bytes], codec: str) -> IO[bytes]:
    """The same text in UTF-8; its byte-order mark stays, as that of UTF-8."""
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    ended = False

    def piece() -> bytes:
        nonlocal ended
        text = ""
        while not text and not ended:
            data = file.read1(PIECE)  # type: ignore[attr-defined]  # which every buffered file has
            ended = not data
            try:
                text = decoder.decode(data, final=ended)
            except UnicodeDecodeError:
                ended = True  # where the next character begins is not known any more
                return NO_TEXT
        return text.encode("utf-8", "surrogatepass")

    return buffered(piece)


def name_of(path: str) -> str:
    """The name of a file in tables and errors."""
    return "<stdin>" if path == STDIN else public(path)


def shown(text: str) -> str:
    """A name that was given and leads to no file, or an error's text: what may be a secret in it is left out."""
    return TOKEN.sub("***", publicly(text))


def too_long() -> str:
    """The reason for which a record beyond `MOST` is rejected."""
    return f"longer than {MOST:,} bytes"


def check_name(path: str) -> None:
    """Raise InputError for a name that is no text: no table could say where its records come from."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        name = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{name}: this name is not valid UTF-8", "rename the file") from error


@contextmanager
def bytes_of(path: str) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file or of standard input, UTF-8 where they were UTF-16.

    `path` may name a file inside a zip archive, or one of the hub. Raises InputError for what cannot be opened or
    unpacked to its end, and for bytes that are known to be no text.
    """
    check_name(path)
    name, packing = name_of(path), None
    try:
        with _raw(path) as raw:
            packing = packing_of(file_name(path), beginning(raw))
            file = raw if packing is None else packing.unpack(raw)
            start = beginning(file)
            check_text(start, name)
            if packing is not None and (within := packing_of("", start)) is not None:
                raise InputError(f"{name}: packed twice, in {within.name} and in {packing.name}", "unpack it once")
            codec = encoding_of(start)
            yield file if codec is None else as_utf_8(file, codec)
    except DAMAGED as error:
        raise damaged(name, packing.name if packing else "zip", error) from error
    except OSError as error:
        if packing is not None and error.errno is None:
            raise damaged(name, packing.name, error) from error
        raise InputError(f"{name}: {error.strerror or error}", "check that the file can be read") from error


@contextmanager
def _raw(path: str) -> Iterator[IO[bytes]]:
    if path == STDIN:
        yield sys.stdin.buffer
    elif member := inside(path):
        with member_bytes(*member) as file:
            yield file
    elif path.startswith(HUB):
        with hub_bytes(path) as file:
            yield file
    elif scheme_of(path):
        with remote_bytes(path) as file:
            yield file
    else:
        with Path(path).open("rb") as file:
            yield file


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, str, str | None]]:
    """The number, the text and the fault of every line; the text of a line with a fault is empty.

    A line ends with a line feed; in a file without any, as classic Mac programs and Excel write it, with a return.
    """
    for number, raw in enumerate(_raw_lines(file), 1):
        if len(raw) >= MOST and not raw.endswith(b"\n"):
            while (rest := file.readline(BLOCK)) and not rest.endswith(b"\n"):
                pass
            yield number, "", too_long()
            continue
        try:
            yield number, raw.decode("utf-8").rstrip("\r\n"), None
        except UnicodeDecodeError:
            yield number, "", "not valid UTF-8"


def _raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    first = file.readline(MOST).removeprefix(b"\xef\xbb\xbf")
    if b"\r" in first and not first.endswith(b"\n") and len(first) < MOST - 3:  # the whole file, less its mark
        yield from first.removesuffix(b"\r").split(b"\r")
        return
    if first:
        yield first
    while raw := file.readline(MOST):
        yield raw


def can_be_opened_again(path: str) -> bool:
    """Whether a second look at the file starts at its beginning: not so standard input and pipes."""
    return path != STDIN and (scheme_of(path) is not None or inside(path) is not None or Path(path).is_file())


def whole(path: str) -> bytes | None:
    """All bytes of a file; None where there are more than `MOST`."""
    with bytes_of(path) as file:
        found = file.read(MOST + 1)
    return found if len(found) <= MOST else None
