"""Decode UTF-16 and UTF-32 into a stream of UTF-8, so that files of PowerShell and Excel are read like any other."""

import codecs
import io
from typing import IO, Any, cast

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
"""Bytes from which UTF-16 is told where it has no mark: every other one of them is zero."""


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
    return cast("IO[bytes]", io.BufferedReader(cast("Any", _Recoded(file, codec)), 1 << 16))


class _Recoded(io.RawIOBase):
    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            data = self._file.read1(len(buffer))  # type: ignore[attr-defined]  # which every buffered file has
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError:
                self._left, self._ended = NO_TEXT, True  # where the next character begins is not known any more
                break
            self._left = text.encode("utf-8", "surrogatepass")
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
