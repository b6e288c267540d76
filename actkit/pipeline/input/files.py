"""Stage 1, records: the bytes and lines of one file, with an end to how much of it is held at once.

A compressed file of a few megabytes can hold a line of many gigabytes; whatever is longer than `MOST` is not read into
memory.
"""

import gzip
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from actkit.errors import InputError

STDIN = "-"
MOST = 1 << 30
"""Bytes, or characters, of one record; a longer one is no record but a damaged or hostile file."""
BLOCK = 1 << 20
"""Bytes read at a time of what is passed over, or of a whole text."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PACKED = {
    b"\x1f\x8b\x08": (
        "gzip data under another name",
        "let its name end in .gz, or unpack it: gunzip -c FILE | actkit … -",
    ),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it: zstd -dc FILE | actkit … -"),
    b"BZh91AY&SY": ("compressed with bzip2", "unpack it: bunzip2 -c FILE | actkit … -"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unpack it: xz -dc FILE | actkit … -"),
    b"PK\x03\x04": ("a zip archive", "unpack it: unzip -p FILE | actkit … -"),
    b"PAR1\x15": ("Parquet", "Parquet is read from files whose name ends in .parquet"),
}
"""How files begin that are no text, what they are, and what to do. Line by line, 1 in 300 of their lines is valid UTF-8
by chance, and would be run as a prompt."""
SECRETS = re.compile(r"(:/{1,2})[^/@\s]+@|()\bhf_[A-Za-z0-9]{16,}|([?&]token=)[^&\s]+")
"""What of an address must not be repeated: user and password, a token of the Hugging Face hub. Before it, in a group,
what may; a path has `:/` where an address has `://`."""


def name_of(path: str) -> str:
    """What a file is called in tables and errors."""
    return "<stdin>" if path == STDIN else path


def shown(text: str) -> str:
    """A name that was given and leads to no file, or an error's text: what may be a secret in it is left out."""
    return SECRETS.sub(lambda found: f"{next(filter(None, found.groups()), '')}***", text)


def too_long() -> str:
    """What is said of a record beyond `MOST`."""
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
    """The uncompressed bytes of a file or of standard input. Raises InputError for one of `PACKED`."""
    check_name(path)
    try:
        if path == STDIN:
            _check_text(sys.stdin.buffer, path)
            yield sys.stdin.buffer
        elif path.lower().endswith(".gz"):
            with gzip.open(path, "rb") as file:
                yield cast("IO[bytes]", file)
        else:
            with Path(path).open("rb") as file:
                _check_text(file, path)
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the gzip data is damaged or cut off ({error})", "fetch or compress the file again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", "check that the file can be read") from error


def _check_text(file: IO[bytes], path: str) -> None:
    """Raise InputError for bytes that begin as one of `PACKED`; nothing is read off."""
    peek = getattr(file, "peek", None)  # a test's stand-in for standard input may have none
    start = peek(16) if peek else b""
    for begins, (what, hint) in PACKED.items():
        if start.startswith(begins):
            raise InputError(f"{name_of(path)}: this is {what}", hint)


def lines_of(path: str) -> Iterator[tuple[int, str, str | None]]:
    """Number and text of every line, and what is wrong with it, if something is: then the text is empty."""
    with bytes_of(path) as file:
        number = 0
        while raw := file.readline(MOST):
            number += 1
            if number == 1:
                if raw.startswith(UTF_16):
                    raise InputError(f"{name_of(path)}: this is UTF-16", "save it as UTF-8")
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if len(raw) >= MOST and not raw.endswith(b"\n"):
                while (rest := file.readline(BLOCK)) and not rest.endswith(b"\n"):
                    pass
                yield number, "", too_long()
                continue
            try:
                yield number, raw.decode("utf-8").rstrip("\r\n"), None
            except UnicodeDecodeError:
                yield number, "", "not valid UTF-8"


def whole(path: str) -> bytes | None:
    """All bytes of a file; None where there are more than `MOST`."""
    parts, size = [], 0
    with bytes_of(path) as file:
        while part := file.read(BLOCK):
            parts.append(part)
            size += len(part)
            if size > MOST:
                return None
    return b"".join(parts)
