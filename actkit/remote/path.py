"""`RemotePath`: a file or folder in a store, on the hub or on the web, as a read-only `Path`."""

import errno
import fnmatch
import io
import os
import stat as modes
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import IO, Any

from actkit.errors import RunError, UsageError, in_short
from actkit.remote.failures import explained
from actkit.remote.file_system import file_system, for_arrow
from actkit.remote.url import as_url, public, scheme_of

BUFFER, AHEAD = 1 << 16, 4 << 20
"""Bytes of a buffer, and bytes of a request, for a file that is read from its beginning on."""


class RemotePath(PosixPath):
    """A read-only path at an address. Reading raises FileNotFoundError, or RunError in one sentence.

    pyarrow opens it by its `__fspath__`, and reads only the bytes that it needs.
    """

    @property
    def url(self) -> str:
        """The whole address, with passwords and signatures: for requests only, never to be shown."""
        return as_url(super().__str__())

    def __str__(self) -> str:
        return public(self.url)

    def __fspath__(self) -> str:
        return for_arrow(self.url)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - there are no links
        """Kind, size and, where the store has it, time of change. Raises FileNotFoundError."""
        with explained(self.url, RunError):
            system, path = file_system(self.url)
            about = system.info(path)
        kind = modes.S_IFDIR if about["type"] == "directory" else modes.S_IFREG
        when = about.get("LastModified") or about.get("mtime")
        at = when.timestamp() if hasattr(when, "timestamp") else 0
        return os.stat_result((kind, 0, 0, 1, 0, 0, about.get("size") or 0, at, at, at))

    def lstat(self) -> os.stat_result:
        """As `stat`: there are no links."""
        return self.stat()

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether a file or a folder is there."""
        return self._mode() != 0

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether the path is a folder, which has files below it."""
        return modes.S_ISDIR(self._mode())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Whether the path is a file."""
        return modes.S_ISREG(self._mode())

    def is_symlink(self) -> bool:
        """False: there are no links."""
        return False

    def is_absolute(self) -> bool:
        """True: an address is absolute."""
        return True

    def absolute(self) -> "RemotePath":
        """The path itself."""
        return self

    def resolve(self, strict: bool = False) -> "RemotePath":  # noqa: ARG002
        """The path itself."""
        return self

    def iterdir(self) -> Generator["RemotePath", None, None]:
        """The entries of the folder, by name. Raises FileNotFoundError."""
        with explained(self.url, RunError):
            system, path = file_system(self.url)
            names = [str(name).rstrip("/") for name in system.ls(path, detail=False)]
        own = path.rstrip("/")
        yield from (self / name.rpartition("/")[2] for name in sorted(names) if name != own)

    def glob(self, pattern: str, **_more: Any) -> Generator["RemotePath", None, None]:
        """The entries of the folder whose names match a pattern, not those below; none where there is no folder."""
        with suppress(FileNotFoundError):
            yield from (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def files(self) -> list[str]:
        """The relative path of every file below the folder. Raises FileNotFoundError."""
        with explained(self.url, RunError):
            system, path = file_system(self.url)
            start = f"{path.rstrip('/')}/"
            found = (str(name).removeprefix(start) for name in system.find(path))
            # The hub adds `.gitattributes` to every repository.
            return sorted(name for name in found if not name.startswith(".git"))

    def open(self, mode: str = "r", *_more: Any, **options: Any) -> IO[Any]:  # type: ignore[override]
        """Open the file to be read. Raises FileNotFoundError."""
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "a run elsewhere is only read", str(self))
        with explained(self.url, RunError):
            system, path = file_system(self.url)
            raw: Any = io.BufferedReader(system.open(path, "rb", cache_type="readahead", block_size=AHEAD), BUFFER)
        return raw if "b" in mode else io.TextIOWrapper(raw, options.get("encoding") or "utf-8")

    def _mode(self) -> int:
        """The mode of the path; 0 where nothing is there."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return self.stat().st_mode
        return 0


def local_path(where: Path | str, what: str = "path") -> Path:
    """Make a local path. Raises UsageError, naming the argument `what`, for a value that is no path."""
    if not isinstance(where, (str, os.PathLike)):
        raise UsageError(f"{what}: {in_short(repr(where))} is no path", "give a text or a Path")
    return Path(where)


def path_of(where: Path | str) -> Path:
    """Make a RemotePath of an address that can be read, else a local path. Raises as `local_path` does."""
    if isinstance(where, RemotePath):
        return where
    return RemotePath(str(where)) if scheme_of(str(where)) else local_path(where)
