"""Numbers that wait in a temporary file come back as they were, and a disk that takes none is said so."""

import errno
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from actkit.analysis.scratch_file import Spill
from actkit.errors import WriteError


class Full:
    """A file on a full disk."""

    def seek(self, _at: int) -> None: ...

    def close(self) -> None: ...

    def write(self, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "as the system says it")


def test_arrays_are_read_where_they_were_written(tmp_path: Path) -> None:
    first, second = np.arange(5, dtype=np.float32), np.arange(7, dtype=np.int64)
    with closing(Spill(tmp_path)) as spill:
        places = spill.write(first), spill.write(second)
        spill.write(np.array([9], dtype=np.float32), at=4)
        assert places == (0, 20)
        assert spill.read(0, 5, np.float32).tolist() == [0, 9, 2, 3, 4]
        assert spill.read(20, 7, np.int64).tolist() == second.tolist()
        with pytest.raises(EOFError, match="are missing"):
            spill.read(20, 8, np.int64)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_is_an_error_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WriteError, match="cannot write a temporary file in .*nowhere: No such file"):
        Spill(tmp_path / "nowhere")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    with closing(Spill(tmp_path)) as spill, pytest.raises(WriteError, match="No space left on device") as raised:
        spill.write(np.arange(3))
    assert str(tmp_path) in raised.value.message and "disk full" in raised.value.hint
