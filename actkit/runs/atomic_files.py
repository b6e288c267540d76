"""Write files whole or not at all: under a temporary name, synced to disk, then renamed.

The sha256, computed while a file is written, shows later whether the file was damaged.
"""

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from actkit.errors import writing
from actkit.runs.json_file import is_regular

TEMPORARY = ".actkit-{}.tmp"
"""The name of a file while it is written: short, however long its final name, and unique to one write."""


@dataclass(frozen=True)
class Written:
    """Size and checksum of a file as it was written, and its rows if it is a table."""

    bytes: int
    sha256: str
    rows: int | None = None


class _Digested(io.BufferedIOBase):
    """A file that is written from its beginning to its end, and hashed meanwhile.

    It has no seek: so a zip file writes sizes behind its members, and no byte is written twice.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.sha256.update(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> Written:
    """Write a file that is always whole under its name: under a temporary name first, synced before it is renamed.

    `write` gets a file without seek. The checksum is of the bytes handed over, not of bytes read back from the disk.
    Raises WriteError, and errors of `write` about a file that it reads; the temporary file is removed then.
    """
    temporary = path.with_name(TEMPORARY.format(secrets.token_hex(6)))
    with writing(path, own=(temporary, path, path.parent)):
        path.parent.mkdir(exist_ok=True)
        try:
            with temporary.open("xb") as file:
                digested: Any = _Digested(file)
                write(digested)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)
    return Written(digested.bytes, digested.sha256.hexdigest())


def write_text(path: Path, text: str) -> Written:
    """Write a text file, whole or not at all; a lone surrogate becomes its escape, as in JSON. Raises WriteError."""
    return write_whole(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def sync(path: Path) -> None:
    """Wait until a file or a directory is on disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def of_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_facts(facts: Mapping[str, Any]) -> str:
    """sha256 of facts as JSON with sorted keys: the `sha256` that a manifest has of itself."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def difference(path: Path, size: int, sha256: str) -> str | None:
    """Describe how a file differs from the `size` and `sha256` that were written; None where it does not."""
    if not is_regular(path):
        return "no regular file" if path.exists() else "missing"
    found = path.stat().st_size
    if found != size:
        said = f"{size:,}" if isinstance(size, int) else f"{size!r:.40}"  # a manifest of others may say anything
        return f"{found:,} bytes, but {said} were written"
    try:
        return None if of_file(path) == sha256 else "its bytes are not those that were written (sha256 differs)"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
