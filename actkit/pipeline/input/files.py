"""Stage 1, records: read the bytes and lines of one file in bounded memory.

UTF-16 and UTF-32, which PowerShell and Excel write, are decoded into a stream of UTF-8. A compressed file of a few
megabytes can hold a line of many gigabytes, so no line longer than `MOST` is read into memory.
"""

import codecs
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
from actkit.remote.url import file_name, public, scheme_of

MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte-order marks; those of UTF-32 come first, since one of them begins with that of UTF-16."""
NO_TEXT = b"\xff"
"""A byte that no UTF-8 has: it stands for text that could not be decoded, so that its line is rejected."""
LEAST = 32
"""Fewest bytes by which UTF-16 without a mark is detected: every other byte is zero."""
STDIN = "-"
MOST = 1 << 26
"""Most bytes, or characters, of one record; a longer one comes from a damaged or hostile file."""
BLOCK = 1 << 20
"""Bytes read at a time while the rest of a long line is skipped."""


def encoding_of(start: bytes) -> str | None:
    """Return the encoding by a file's beginning; None for UTF-8."""
    marked = next((codec for mark, codec in MARKS if start.startswith(mark)), None)
    if marked is not None or len(start) < LEAST or len(start) % 2:
        return marked
    low, high = start[::2], start[1::2]
    if not any(high) and all(low):
        return "utf-16-le"
    return "utf-16-be" if not any(low) and all(high) else None


def as_utf_8(file: IO[bytes], codec: str) -> IO[bytes]:
    """Return a stream of the same text in UTF-8; its byte-order mark becomes that of UTF-8."""
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
                ended = True  # nobody knows where the next character begins
                return NO_TEXT
        return text.encode("utf-8", "surrogatepass")

    return buffered(piece)


def name_of(path: str) -> str:
    """Return the name of a file for tables and errors."""
    return "<stdin>" if path == STDIN else public(path)


def too_long() -> str:
    """Return the reason for rejecting a record longer than `MOST`."""
    return f"longer than {MOST:,} bytes"


def check_name(path: str) -> None:
    """Raise InputError for a name that is not valid text: no table could store it as a source."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        name = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{name}: this name is not valid UTF-8", "rename the file") from error


@contextmanager
def bytes_of(path: str) -> Iterator[IO[bytes]]:
    """Yield the unpacked bytes of a file or of standard input, with UTF-16 and UTF-32 decoded into UTF-8.

    `path` may name a file in a zip archive, in a store or on the hub. Raises InputError for a file that cannot be
    opened, or unpacked to its end, and for bytes that are known to be no text.
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
    """Yield the number, the text and the fault of every line; a line with a fault has empty text.

    A line ends with a line feed. In a file without any, as classic Mac programs and Excel write it, a return ends it.
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
    """Whether a file can be read again from its beginning, unlike standard input and pipes."""
    return path != STDIN and (scheme_of(path) is not None or inside(path) is not None or Path(path).is_file())


def whole(path: str) -> bytes | None:
    """Return all bytes of a file; None where there are more than `MOST`."""
    with bytes_of(path) as file:
        found = file.read(MOST + 1)
    return found if len(found) <= MOST else None
