"""Keep arrays in a temporary file until they are needed again, so that memory does not grow with the data."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.errors import writing

Array = npt.NDArray[Any]


class Spill:
    """A temporary file of numbers, without a name where the system allows it, so that it ends with the process.

    Raises WriteError where the disk is full or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._what = f"a temporary file in {folder}"
        with writing(self._what):
            # A run that is only read may lie in a folder that cannot be written.
            where = folder if os.access(folder, os.W_OK) or not folder.is_dir() else None
            self._file = tempfile.TemporaryFile(dir=where, prefix=".spill-", buffering=0)  # noqa: SIM115 (see `close`)
        self._end = 0

    def write(self, array: Array, at: int | None = None) -> int:
        """Write an array from byte `at`, by default after all that was appended. Returns where it begins."""
        begin = self._end if at is None else at
        data = _bytes_of(np.ascontiguousarray(array))
        self._file.seek(begin)
        done = 0
        with writing(self._what):
            while done < len(data):  # the system may write only a part
                done += self._file.write(data[done:])
        if at is None:
            self._end += len(data)
        return begin

    def read(self, at: int, count: int, dtype: npt.DTypeLike) -> Array:
        """Read [count] numbers of this type from byte `at`. Raises EOFError where the file is too short."""
        found = np.empty(count, dtype=dtype)
        data = _bytes_of(found)
        self._file.seek(at)
        done = 0
        while done < len(data):
            got = self._file.readinto(data[done:])
            if not got:
                raise EOFError(f"{len(data) - done} bytes are missing in a temporary file")
            done += got
        return found

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _bytes_of(array: Array) -> memoryview:
    return memoryview(array.view(np.uint8)) if array.size else memoryview(b"")  # type: ignore[arg-type]
