"""Read files inside zip archives, by paths such as `archive.zip/folder/part.jsonl`."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import IO

from actkit.errors import InputError
from actkit.remote.reading import remote_bytes
from actkit.remote.url import file_name, scheme_of

NO_DATA = ("__MACOSX/", ".DS_Store")
"""Files that macOS adds to archives."""
OFFICE = {"xl/": ("an Excel workbook", "save the sheet as CSV"), "word/": ("a Word document", "save it as text")}
"""Folders that only documents of office programs have, which are zip archives."""


def inside(path: str) -> tuple[str, str] | None:
    """Return the archive and the member that a path names; None where it names no member of an archive."""
    at = path.lower().find(".zip/")
    while at >= 0:
        archive, member = path[: at + 4], path[at + 5 :]
        if member and is_archive(archive):
            return archive, member
        at = path.lower().find(".zip/", at + 1)
    return None


def is_archive(path: str) -> bool:
    """Whether a path names an existing file, or a URL, that ends in .zip."""
    try:
        named = file_name(path).lower().endswith(".zip")
        return named and (scheme_of(path) is not None or Path(path).is_file())
    except (OSError, ValueError):
        return False


def members(archive: str) -> list[str]:
    """List the files in an archive, sorted, without hidden ones. Raises InputError for an office document."""
    with _opened(archive) as file:
        names = [member.filename for member in file.infolist() if not member.is_dir()]
    for folder, (what, hint) in OFFICE.items():
        if any(name.startswith(folder) for name in names):
            raise InputError(f"{archive}: this is {what}", hint)
    hidden = [name for name in names if any(part.startswith(".") for part in PurePosixPath(name).parts)]
    return sorted(name for name in names if name not in hidden and not name.startswith(NO_DATA))


@contextmanager
def member_bytes(archive: str, member: str) -> Iterator[IO[bytes]]:
    """Yield the bytes of one file in an archive. Raises InputError where it is missing or cannot be read."""
    with _opened(archive) as file:
        try:
            stream = file.open(member)
        except KeyError as error:
            there = ", ".join(members(archive)[:5]) or "nothing"
            raise InputError(f"{archive}/{member}: there is no such file in the archive", f"it has {there}") from error
        except (RuntimeError, NotImplementedError) as error:
            raise InputError(f"{archive}/{member}: {error}", "unpack the archive with another program") from error
        with stream:
            yield stream


@contextmanager
def _opened(archive: str) -> Iterator[zipfile.ZipFile]:
    try:
        where = remote_bytes(archive, seeks=True) if scheme_of(archive) else nullcontext(archive)
        with where as raw, zipfile.ZipFile(raw) as file:
            yield file
    except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise InputError(f"{archive}: the zip archive is damaged ({error})", "fetch or write it again") from error
