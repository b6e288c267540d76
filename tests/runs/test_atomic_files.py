"""A file is whole or not there, is digested as it is written, and takes nobody's place before it is done."""

import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actkit.errors import WriteError
from actkit.runs import atomic_files
from actkit.runs.atomic_files import write_text, write_whole


def parquet(file: IO[bytes]) -> None:
    with pq.ParquetWriter(file, pa.schema([("a", pa.int64())])) as writer:
        for _ in range(3):
            writer.write_table(pa.table({"a": np.arange(100_000)}))


def arrays(file: IO[bytes]) -> None:
    np.savez_compressed(file, a=np.arange(1000), b=np.zeros((3, 3)))


def tensors(file: IO[bytes]) -> None:
    torch.save({"a": torch.arange(1000)}, file)


@pytest.mark.parametrize("write", [parquet, arrays, tensors, lambda file: file.write(memoryview(np.arange(5)))])
def test_the_checksum_is_that_of_the_file_without_reading_it(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
        written = write_whole(tmp_path / "x", write)
    data = (tmp_path / "x").read_bytes()
    assert (written.bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    write_whole(tmp_path / "p", parquet)
    assert pq.read_table(tmp_path / "p")["a"].to_pylist() == [*range(100_000)] * 3
    write_whole(tmp_path / "n", arrays)
    with np.load(tmp_path / "n") as found:
        assert np.array_equal(found["a"], np.arange(1000)) and found["b"].shape == (3, 3)
    assert zipfile.ZipFile(tmp_path / "n").testzip() is None
    write_whole(tmp_path / "t", tensors)
    assert torch.equal(torch.load(tmp_path / "t", weights_only=True)["a"], torch.arange(1000))


def test_a_file_of_any_name_is_written_beside_files_of_temporary_names(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    for name in ("m.json.tmp", ".m.json.tmp", ".actkit-0.tmp"):
        (tmp_path / name).write_text("mine")
    write_text(path, "one")
    write_text(tmp_path / "m.json", "two")
    assert path.read_text() == "one"
    assert {path.read_text() for path in tmp_path.glob("*.tmp")} == {"mine"}


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """Each has a temporary file of its own; whoever ends last is in place, whole."""

    def outer(file: IO[bytes]) -> None:
        file.write(b"outer " * 1000)
        write_text(tmp_path / "x", "inner " * 1000)
        file.write(b"outer")

    write_whole(tmp_path / "x", outer)
    assert (tmp_path / "x").read_bytes() == b"outer " * 1000 + b"outer"


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="No space left on device"):
        write_whole(tmp_path / "x", fail)
    assert (tmp_path / "x").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_read_is_not_said_to_be_a_full_disk(tmp_path: Path) -> None:
    """A page is made of a run's files while it is written: "cannot write page.html" was said of one that is lost."""
    with pytest.raises(FileNotFoundError, match="lost.parquet"):
        write_whole(tmp_path / "page.html", lambda file: file.write((tmp_path / "lost.parquet").read_bytes()))
    assert not list(tmp_path.iterdir())


def test_file_and_folder_are_on_disk_before_and_after_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("rename"), replace(self, to))[1])
    write_text(tmp_path / "x", "text")
    assert done == ["file", "rename", "folder"]


def test_what_is_written_cannot_be_gone_back_to() -> None:
    file = atomic_files._Digested(io.BytesIO())
    with pytest.raises(OSError, match="seek"):
        file.seek(0)
    assert not file.seekable() and file.writable()
