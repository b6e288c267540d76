"""Read inputs at an address: list their files, open them, and get a version that shows later whether they changed."""

import difflib
import glob
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from actkit.errors import InputError
from actkit.remote.failures import explained, said
from actkit.remote.file_system import file_system
from actkit.remote.url import as_url, is_web, public, scheme_of
from actkit.remote.web import WebFile

NEAR = 5
"""Most names that an error lists."""
LINES = 5 << 20
"""Bytes of a request for a file that is read from beginning to end."""


class _Explained(io.RawIOBase):
    """A file whose reading and seeking raise `explained` errors."""

    def __init__(self, raw: Any, url: str) -> None:
        self._raw, self._url = raw, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._raw.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with explained(self._url):
            return int(self._raw.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        with explained(self._url):
            data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


@contextmanager
def remote_bytes(url: str, seeks: bool = False) -> Iterator[IO[bytes]]:
    """Open a file whose bytes are fetched as they are read; `seeks` is for readers that need few of them.

    Raises InputError, also while the file is read.
    """
    ahead: Mapping[str, Any] = {} if seeks else {"cache_type": "readahead", "block_size": LINES}
    try:
        with explained(url):
            if is_web(url):
                raw: Any = WebFile(as_url(url))
            else:
                system, path = file_system(url)
                raw = system.open(path, "rb", **ahead)
    except FileNotFoundError as error:
        raise missing(url) from error
    with _Explained(raw, url) as unbuffered, io.BufferedReader(unbuffered, 1 << 16) as file:
        yield cast("IO[bytes]", file)


def remote_files(url: str) -> list[str] | None:
    """List the addresses of the files of a folder or a pattern, sorted; None for a single file.

    A web address is always a single file. Raises InputError where nothing is there.
    """
    if is_web(url):
        return None
    scheme = f"{scheme_of(url)}://"
    try:
        with explained(url):
            system, path = file_system(url)
            if not url.endswith("/") and system.isfile(path):
                return None
            found = system.find(path) or (system.glob(path) if glob.has_magic(path) else [])
    except FileNotFoundError as error:
        raise missing(url) from error
    if not found:
        raise missing(url)
    return [scheme + str(name).removeprefix(scheme) for name in sorted(found) if not str(name).endswith("/")]


def missing(url: str) -> InputError:
    """Make the error for a missing file: it lists near names in the folder, or says that there is no such bucket."""
    shown = public(url)
    if is_web(url):
        return InputError(f"{shown}: no such file (404)", "check the address")
    inside = url.partition("://")[2].rstrip("/")
    folder, _, name = inside.rpartition("/")
    if not folder:
        return InputError(f"{shown}: no such bucket, or nothing in it", "check its name, and that it may be listed")
    try:
        system, path = file_system(f"{scheme_of(url)}://{folder}")
        names = [str(entry).rstrip("/").rpartition("/")[2] for entry in system.ls(path, detail=False)]
    except FileNotFoundError:
        where = "bucket" if "/" not in folder else "folder"
        return InputError(
            f"{shown}: no such file, nor {where} {public(f'{scheme_of(url)}://{folder}')}", "check the path"
        )
    except Exception as error:
        return cast("InputError", said(error, url))
    near = difflib.get_close_matches(name, names, n=NEAR, cutoff=0) or names[:NEAR]
    return InputError(f"{shown}: no such file", f"in the same folder: {', '.join(near)}" if near else "it is empty")


def version_of(url: str) -> dict[str, Any]:
    """Get the version of a file, which shows later whether it changed: bytes, and ETag, revision or time."""
    with explained(url):
        if is_web(url):
            with WebFile(as_url(url)) as file:
                found = {"bytes": file.size, "etag": file.etag, "modified": file.modified}
        else:
            system, path = file_system(url)
            about = system.info(path)
            commit = getattr(about.get("last_commit"), "oid", None)
            found = {
                "bytes": about.get("size"),
                "etag": about.get("ETag") or about.get("etag") or about.get("blob_id"),
                "version": about.get("VersionId") or about.get("generation") or commit,
            }
    plain = {name: str(value).strip('"') if name != "bytes" else value for name, value in found.items()}
    return {"url": public(url)} | {name: value for name, value in plain.items() if found[name] not in (None, math.nan)}
