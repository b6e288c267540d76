"""Unpack compressed files as a stream; their name or their first bytes show the packing.

One entry of `PACKINGS` adds a packing. A file that begins as one of `BINARY` is refused: its lines are noise, of which
1 in 300 is valid UTF-8 by chance and would be run as a prompt. A pointer of Git LFS, which is text, is refused too.
"""

import bz2
import gzip
import io
import lzma
import re
import shlex
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from actkit.errors import InputError, own_python, pip_install

PIECE = 1 << 16
"""Bytes unpacked or decoded at a time."""


@dataclass(frozen=True)
class Packing:
    """One way to compress a file."""

    name: str
    suffixes: tuple[str, ...]
    begins: bytes
    unpack: Callable[[IO[bytes]], IO[bytes]]
    program: str
    """The program that unpacks such files on the command line."""


def _xz(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", lzma.LZMAFile(file))


def _of_arrow(file: IO[bytes], codec: str) -> IO[bytes]:
    """Unpack with Arrow's decompressor; it reads several frames, and raises an error where the last is cut off."""
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)
    return buffered(partial(stream.read, PIECE))


class _Pieces(io.RawIOBase):
    def __init__(self, piece: Callable[[], bytes]) -> None:
        self._piece, self._left = piece, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or self._piece()
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def buffered(piece: Callable[[], bytes]) -> IO[bytes]:
    """Make a stream of the bytes that `piece` returns call by call; at the end it returns none."""
    return cast("IO[bytes]", io.BufferedReader(cast("Any", _Pieces(piece)), PIECE))


PACKINGS = (
    Packing(
        "gzip", (".gz", ".gzip"), b"\x1f\x8b\x08", lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)), "gunzip"
    ),
    Packing("bzip2", (".bz2",), b"BZh", lambda file: cast("IO[bytes]", bz2.BZ2File(file)), "bunzip2"),
    Packing("xz", (".xz", ".lzma"), b"\xfd7zXZ\x00", _xz, "unxz"),
    Packing("zstd", (".zst", ".zstd"), b"\x28\xb5\x2f\xfd", partial(_of_arrow, codec="zstd"), "unzstd"),
    Packing("lz4", (".lz4",), b"\x04\x22\x4d\x18", partial(_of_arrow, codec="lz4"), "unlz4"),
)
SUFFIXES = tuple(suffix for packing in PACKINGS for suffix in packing.suffixes)
SHOWN = ", ".join(packing.suffixes[0] for packing in PACKINGS)
"""The packings' usual suffixes, for a help text."""
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
"""Errors that unpackers raise for damaged data, besides an OSError without a number."""
BZIP2 = 10
"""Bytes at the beginning of a bzip2 file by which it is known: `BZh`, the level, and the digits of pi."""
ZIP, OFFICE = b"PK\x03\x04", (b"[Content_Types].xml", b"docProps/", b"_rels/", b"xl/", b"word/")
SHEETS, DOCUMENTS = (".xlsx", ".xlsm", ".ods"), (".docx", ".odt", ".pptx")
"""Suffixes of office programs' files, which are zip archives; `OFFICE` has the beginnings of first names in them."""
ENTRY = 30
"""The byte at which the name of a zip archive's first file begins."""
TENSORS = re.compile(rb"[\w.-]+(/data\.pkl|\.npy)")
"""The name of the first file in an archive that torch.save or numpy.savez wrote."""
POINTER, FETCH = b"version https://git-lfs.github.com/spec/v1", "git lfs pull fetches the file that it stands for"
PICKLE = "a pickle can run code when it is loaded; write the records as JSONL or Parquet"
BINARY: tuple[tuple[int, bytes, str, str], ...] = (
    (0, ZIP, "a zip archive", "unpack it: unzip -p FILE | actkit … -; or let its name end in .zip"),
    (0, b"PAR1\x15", "Parquet", "Parquet is read from files whose name ends in .parquet"),
    (0, b"ARROW1\x00\x00", "Arrow", "Arrow is read from files whose name ends in .arrow or .feather"),
    (0, b"\xff\xff\xff\xff", "an Arrow stream", "Arrow is read from files whose name ends in .arrow"),
    (0, b"ORC", "ORC", "write it as Parquet"),
    (0, b"Obj\x01", "Avro", "write it as Parquet or JSONL"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", "write the table as Parquet or JSONL"),
    (0, b"SQLite format 3\x00", "an SQLite database", "write the table as CSV: sqlite3 -header -csv FILE 'select …'"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", "save the sheet as CSV"),
    (0, b"\x93NUMPY", "a NumPy array", "write records as JSONL or Parquet"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (0, b"\x80\x04\x95", "a Python pickle", PICKLE),
    (0, b"\x80\x05\x95", "a Python pickle", PICKLE),
    (0, POINTER, "a pointer of Git LFS in place of the file", FETCH),
    (0, b"%PDF-", "a PDF document", "extract its text first"),
    (257, b"ustar", "a tar archive", "unpack it: tar -xf FILE"),
)
"""Place in a file, the bytes there, the kind of binary file that has them, and a hint."""
LOOK = 512
"""Bytes of a file's beginning by which its kind is detected."""


def beginning(file: IO[bytes]) -> bytes:
    """Return the first bytes without reading past them; fewer, or none, where the stream cannot give them.

    Raises the unpacker's error for damage before the first byte: at a second try it may read on after the damage.
    """
    peek = getattr(file, "peek", None)  # a test's stand-in for standard input may have none
    try:
        return bytes(peek(LOOK)[:LOOK]) if peek else b""
    except OSError as error:
        if error.errno is None:
            raise
        return b""  # reading the file raises it again


def packing_of(path: str, start: bytes) -> Packing | None:
    """Return the packing of a file by its name, or else by its first bytes; None for none."""
    by_name = next((packing for packing in PACKINGS if path.lower().endswith(packing.suffixes)), None)
    return by_name or next((packing for packing in PACKINGS if _begins(start, packing)), None)


def _begins(start: bytes, packing: Packing) -> bool:
    if packing.name == "bzip2":  # `BZh9 is a level` is a text
        return start.startswith(b"BZh") and start[4:BZIP2] == b"1AY&SY"
    return start.startswith(packing.begins)


def check_text(start: bytes, name: str) -> None:
    """Raise InputError for bytes that begin as one of `BINARY`, or as an office program's document."""
    if start.startswith(ZIP) and (name.lower().endswith((*SHEETS, *DOCUMENTS)) or start[ENTRY:].startswith(OFFICE)):
        raise _office(name)
    if start.startswith(ZIP) and TENSORS.match(start, ENTRY):
        raise InputError(f"{name}: this is a file of tensors, of PyTorch or NumPy", "write records as JSONL or Parquet")
    for at, begins, what, hint in BINARY:
        if start[at:].startswith(begins):
            raise InputError(f"{name}: this is {what}", hint)


def _office(name: str) -> InputError:
    if not name.lower().endswith((*SHEETS, *DOCUMENTS)):  # standard input, or a name of somebody's own
        return InputError(f"{name}: this is a document of an office program", "save a sheet as CSV, a letter as text")
    if name.lower().endswith(DOCUMENTS):
        return InputError(f"{name}: this is a document of an office program", "save it as text")
    written = Path(name).with_suffix(".jsonl").name
    code = f"import pandas; pandas.read_excel({name!r}).to_json({written!r}, orient='records', lines=True)"
    quoted = shlex.quote(code) if set('"$`\\') & {*code} else f'"{code}"'
    line = f"{pip_install('openpyxl')} && {own_python()} -c {quoted}"
    return InputError(f"{name}: this is a workbook", f"save the sheet as CSV, or make {written} of it: {line}")


def damaged(name: str, packing: str, why: object) -> InputError:
    """Make the error for compressed data that cannot be unpacked to its end."""
    return InputError(f"{name}: the {packing} data is damaged or cut off ({why})", "fetch or compress the file again")
