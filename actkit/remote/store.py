"""Objects of a store: put whole, listed, removed. What fails for a moment is tried again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actkit.errors import WriteError
from actkit.remote.failures import explained, is_final
from actkit.remote.file_system import file_system
from actkit.remote.url import scheme_of

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between two tries to put an object, when the store or the network fails."""
AZURE = ("az", "abfs", "abfss")


def put_file(url: str, path: Path, pauses: tuple[float, ...] = PAUSES) -> None:
    """Put a file as one object, which is there whole or not at all. Raises WriteError."""
    # adlfs alone has to be told that an object may be there already.
    more: dict[str, Any] = {"overwrite": True} if scheme_of(url) in AZURE else {}

    def put() -> None:
        system, key = file_system(url)
        system.put_file(str(path), key, **more)
        system.invalidate_cache()

    _tried(url, put, pauses)


def put_text(url: str, text: str) -> None:
    """Put a text as one object. Raises WriteError."""

    def put() -> None:
        system, key = file_system(url)
        system.pipe_file(key, text.encode(), **({"overwrite": True} if scheme_of(url) in AZURE else {}))
        system.invalidate_cache()

    _tried(url, put, PAUSES)


def put_new(url: str, text: str) -> bool:
    """Put an object where there is none; whether there was none. Raises WriteError."""
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
    """Every object below an address: path from there → bytes. Raises WriteError where it cannot be listed.

    A bucket that is not there is an error; a folder that is not there is an empty one.
    """
    with explained(url, WriteError):
        system, key = file_system(url)
        system.invalidate_cache()
        try:
            found = system.find(key, detail=True)
        except FileNotFoundError:
            found = {}
        bucket = key.partition("/")[0]
        if not found and not _is_bucket(system, bucket):
            raise WriteError(f"{url}: there is no bucket {bucket}", "check its name, or make it first")
    start = f"{key.rstrip('/')}/"
    files = {str(name).removeprefix(start): about for name, about in sorted(found.items())}
    # A console makes an object for a folder that ends in a slash.
    return {name: int(file["size"] or 0) for name, file in files.items() if name and not name.endswith("/")}


def remove(url: str) -> None:
    """Remove an object; none is left where none was. Raises WriteError."""

    def remove() -> None:
        system, key = file_system(url)
        try:
            system.rm_file(key)
        except FileNotFoundError:
            return
        finally:
            system.invalidate_cache()

    _tried(url, remove, PAUSES)


def _is_bucket(system: Any, bucket: str) -> bool:
    try:
        system.ls(bucket)
    except FileNotFoundError:
        return False
    return True


def _tried(url: str, act: Callable[[], None], pauses: tuple[float, ...]) -> None:
    for pause in (*pauses, None):
        try:
            act()
        except FileNotFoundError as error:
            raise WriteError(f"{url}: there is no such bucket", "check its name, or make it first") from error
        except Exception as error:
            if pause is not None and not is_final(error):
                time.sleep(pause)
                continue
            with explained(url, WriteError):
                raise
        return
