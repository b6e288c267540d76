"""A disk that is full or read-only, and files that rot: a sentence, the finished shards, and a run that goes on."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actkit.runs.manifest import finished
from tests.faults.runs import COMMANDS, SHARDS, call, check_same, line_in, write_input

pytestmark = pytest.mark.slow


def mount(folder: Path, options: str) -> bool:
    """Mount (or mount again) a file system in memory; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=600k"):
        pytest.skip("mounting needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    write_input(tmp_path)
    status, _, err = call((*COMMANDS["capture"], *SHARDS, "--out", "whole"), tmp_path)
    assert status == 0, err
    return tmp_path / "whole"


def arguments(out: str) -> tuple[str, ...]:
    return (*COMMANDS["capture"], *SHARDS, "--out", out)


def largest_part(run: Path) -> int:
    """Bytes of the largest file of activations."""
    return max(path.stat().st_size for path in run.glob("activations/*.parquet"))


def limited_to(size: int) -> Callable[[], None]:
    """Limits the files that a process may write, in bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def check_continued(whole: Path, run: Path, line: tuple[str, ...]) -> None:
    status, _, err = call(line, whole.parent)
    assert status == 0, err
    check_same(whole, run)


def test_a_full_disk(whole: Path, disk: Path, tmp_path: Path) -> None:
    status, out, err = call(arguments("disk/run"), tmp_path)
    assert (status, out) == (1, "") and "No space left on device" in err and "Traceback" not in err
    assert "error: cannot write disk/run.partial/" in err
    shards, wrong = finished(disk / "run.partial")
    assert len(shards) >= 2 and wrong == []
    assert not list(disk.rglob("*.tmp")) and not (disk / "run.partial" / "lock").exists()
    line = line_in(err)
    status, _, err = call(line, tmp_path)
    assert status == 1 and "cannot write" in err  # as long as there is no room
    assert len(finished(disk / "run.partial")[0]) >= len(shards)
    assert mount(disk, "remount,size=100m")
    check_continued(whole, disk / "run", line)


def test_a_limit_on_the_size_of_files(whole: Path, tmp_path: Path) -> None:
    """What a quota looks like to a program, where no disk can be mounted."""
    limit = largest_part(whole) - 1
    status, out, err = call(arguments("run"), tmp_path, preexec_fn=limited_to(limit))
    assert (status, out) == (1, "") and "File too large" in err and "error: cannot write run.partial/" in err
    shards, wrong = finished(tmp_path / "run.partial")
    assert len(shards) >= 2 and wrong == []
    status, _, err = call(line_in(err), tmp_path)
    assert status == 0, err
    check_same(whole, tmp_path / "run")


def test_a_read_only_directory(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() == 0 and not mount(folder, "ro"):
        pytest.skip("for this user every directory can be written to")
    folder.chmod(0o555) if os.getuid() else None
    try:
        status, out, err = call(arguments("disk/run"), tmp_path)
        assert (status, out) == (1, "") and "error: cannot make disk/run.partial: " in err and "hint: " in err
        assert any(why in err for why in ("Read-only file system", "Permission denied"))
        assert list(folder.iterdir()) == []
        folder.chmod(0o755) if os.getuid() else mount(folder, "remount,rw")
        check_continued(whole, folder / "run", (*arguments("disk/run"), "--resume"))
    finally:
        folder.chmod(0o755) if os.getuid() else subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
def test_a_shard_that_rots_is_named_and_computed_again(how: str, whole: Path, tmp_path: Path) -> None:
    status, _, err = call(arguments("run"), tmp_path, preexec_fn=limited_to(largest_part(whole) - 1))
    assert status == 1, err
    path = tmp_path / "run.partial" / "features" / "part-00001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.unlink()
    if how != "missing":
        path.write_bytes(data if how == "flipped" else data[:100])
    status, _, err = call((*arguments("run"), "--resume"), tmp_path)
    state = "missing" if how == "missing" else "damaged"
    assert status == 0, err
    assert f"shard 1: features/part-00001.parquet is {state}; that shard is computed again\n" in err
    check_same(whole, tmp_path / "run")
