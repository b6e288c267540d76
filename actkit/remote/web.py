"""Read a file of the web: from its beginning in one request, elsewhere by range requests if the server takes them.

If an answer breaks off, the rest is requested again, as long as the server's ETag stays the same. A server without
ranges sends a file from beginning to end; so `seek` first copies such a file to a temporary one.
"""

import base64
import io
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import IO, Any

from actkit.errors import InputError
from actkit.remote.url import public

PATIENCE = 10
"""Seconds to wait for a silent server."""
TRIES = 3
"""Most requests for the same place of a file."""
BLOCK = 1 << 20
SAFE = "%/:=&?~#+!$,;'@()*[]|"
"""Characters of an address that are sent as they are; others become escapes."""
AHEAD = 1 << 16
"""Most bytes that a seek forward reads over instead of making a new request."""


class WebFile(io.RawIOBase):
    """A read-only file. Raises FileNotFoundError where there is none, InputError if it changes, errors of `urllib`."""

    def __init__(self, url: str) -> None:
        self.url, self._at = url, 0
        self._copy: IO[bytes] | None = None
        self._body: Any = None
        status, about = self._begin(0)
        self.has_ranges = status == 206
        self.etag: str | None = about.get("ETag")
        self.modified: str | None = about.get("Last-Modified")
        self.size = 0 if status == 416 else _size(about, self.has_ranges)
        """Bytes; None where the server does not say."""

    def readable(self) -> bool:
        """True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """True, also where the server has no ranges."""
        return True

    def tell(self) -> int:
        """The position of the next byte to be read."""
        return self._at if self._copy is None else self._copy.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte. A new request is made only by the next read."""
        if self._copy is None and (not self.has_ranges or self.size is None):
            start = [0, self._at, 0][whence] + offset
            if whence != io.SEEK_END and start == self._at:
                return start
            self._copied()
        if self._copy is not None:
            return self._copy.seek(offset, whence)
        start = [0, self._at, self.size or 0][whence] + offset
        if start < 0:
            raise ValueError("before the beginning")
        if start != self._at:
            if not 0 < start - self._at <= AHEAD or self._body is None:
                self._stop()
            else:
                self._body.read(start - self._at)
            self._at = start
        return start

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes. Raises InputError where the server breaks off again and again."""
        if self._copy is not None:
            data = self._copy.read(len(buffer))
        else:
            data = b"" if self.size is not None and self._at >= self.size else self._next(len(buffer))
            self._at += len(data)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection and the temporary copy."""
        self._stop()
        if self._copy is not None:
            self._copy.close()
        super().close()

    def _next(self, most: int) -> bytes:
        for _ in range(TRIES):
            try:
                if self._body is None:
                    self._begin(self._at)
                data: bytes = self._body.read(most)
            except (OSError, ValueError, EOFError) as error:
                if isinstance(error, (urllib.error.HTTPError, FileNotFoundError)) or not self.has_ranges:
                    raise
                data = b""
            if data or self.size is None:
                return data
            self._stop()
            if not self.has_ranges:
                break
        told = f" of {self.size:,}" if self.size is not None else ""
        raise InputError(f"{public(self.url)}: cut off after {self._at:,}{told} bytes", "try again, or fetch the file")

    def _begin(self, start: int) -> tuple[int, Any]:
        """Request the bytes from `start` on; return status and headers. Raises InputError if the file has changed."""
        address, user = _addressed(self.url)
        request = urllib.request.Request(address, headers={"Range": f"bytes={start}-", "Accept-Encoding": "identity"})
        if user:
            request.add_unredirected_header("Authorization", f"Basic {user}")
        try:
            body = urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (404, 410):
                    raise FileNotFoundError(public(self.url)) from None
                if error.code == 416 and start == 0:  # an empty file has no first byte
                    self._body = io.BytesIO()
                    return error.code, error.headers
            raise
        if start and (body.status != 206 or body.headers.get("ETag") != self.etag):
            body.close()
            raise InputError(f"{public(self.url)}: the file has changed while it was read", "start again")
        self._body = body
        return body.status, body.headers

    def _stop(self) -> None:
        if self._body is not None:
            with suppress(OSError):
                self._body.close()
            self._body = None

    def _copied(self) -> None:
        """Copy the whole file to a temporary one, since the server takes no range requests."""
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this file
        with WebFile(self.url) as whole:
            while block := whole.read(BLOCK):
                copy.write(block)
        copy.seek(self._at)
        self._copy = copy
        self._stop()


def _size(headers: Any, has_ranges: bool) -> int | None:
    total = (headers.get("Content-Range") or "").rpartition("/")[2] if has_ranges else headers.get("Content-Length")
    return int(total) if total and total.isdigit() else None


def _addressed(url: str) -> tuple[str, str]:
    """The escaped address without user and password, and these two encoded for HTTP's Basic authorization."""
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    try:
        host.encode("ascii")
    except UnicodeEncodeError:
        host = host.encode("idna").decode()
    plain = urllib.parse.urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    return urllib.parse.quote(plain, safe=SAFE), base64.b64encode(
        urllib.parse.unquote(user).encode()
    ).decode() if user else ""
