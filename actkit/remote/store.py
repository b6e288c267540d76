"""Put, list and remove objects of a store. A failure that may pass is tried again."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from actkit.errors import WriteError
from actkit.remote.failures import explained, is_final
from actkit.remote.file_system import file_system
from actkit.remote.url import kind_of

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries to put or remove an object, when the store or the network fails."""


def put_file(url: str, path: Path, pauses: tuple[float, ...] = PAUSES) -> None:
    """Put a file as an object, which is there whole or not at all. Raises WriteError."""
    _tried(url, lambda system, key: system.put_file(str(path), key, **_overwriting(url)), pauses)


def put_text(url: str, text: str) -> None:
    """Put a text as an object. Raises WriteError."""
    _tried(url, lambda system, key: system.pipe_file(key, text.encode(), **_overwriting(url)))


def _overwriting(url: str) -> dict[str, Any]:
    """Arguments of fsspec to overwrite an object: only adlfs needs any."""
    return {"overwrite": True} if kind_of(url) == "az" else {}


def put_new(url: str, text: str) -> bool:
    """Put an object unless there is one; return whether it was put. Raises WriteError."""
    with explained(url, WriteError):
        system, key = file_system(url)
        try:
            system.pipe_file(key, text.encode(), mode="create")
        except FileExistsError:
            return False
        except Exception as error:
            if "PreconditionFailed" in f"{error!r}{error.__cause__!r}" or "412" in str(error):
                return False
            raise
        system.invalidate_cache()
    return True


def files_at(url: str) -> dict[str, int]:
    """List every object below an address: relative path → bytes. Raises WriteError where that fails.

    A missing bucket is an error too; a missing folder is an empty one.
    """
    with explained(url, WriteError):
        system, key = file_system(url)
        system.invalidate_cache()
        try:
            found = system.find(key, detail=True)
        except FileNotFoundError:
            found = {}
        if not found:
            bucket = key.partition("/")[0]
            try:
                system.ls(bucket)
            except FileNotFoundError as error:
                raise WriteError(f"{url}: there is no bucket {bucket}", "check its name, or make it first") from error
    start = f"{key.rstrip('/')}/"
    files = {str(name).removeprefix(start): about for name, about in sorted(found.items())}
    # For a folder, a store's web console makes an object whose name ends in a slash.
    return {name: int(file["size"] or 0) for name, file in files.items() if name and not name.endswith("/")}


def remove(url: str) -> None:
    """Remove an object, if there is one. Raises WriteError."""

    def act(system: Any, key: str) -> None:
        with suppress(FileNotFoundError):
            system.rm_file(key)

    _tried(url, act)


def _tried(url: str, act: Callable[[Any, str], None], pauses: tuple[float, ...] = PAUSES) -> None:
    """Call `act` with the file system and the object's key; on an error that may pass, again after each pause."""
    for pause in (*pauses, None):
        try:
            system, key = file_system(url)
            act(system, key)
            system.invalidate_cache()
        except FileNotFoundError as error:
            raise WriteError(f"{url}: there is no such bucket", "check its name, or make it first") from error
        except Exception as error:
            if pause is not None and not is_final(error):
                time.sleep(pause)
                continue
            with explained(url, WriteError):
                raise
        return
