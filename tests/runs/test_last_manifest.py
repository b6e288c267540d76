"""The last manifest lists every file of a finished run, and one that was changed by a byte is none."""

import hashlib
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from actkit.runs.atomic_files import Written
from actkit.runs.manifest import read, seal, sealed
from tests.command_line import Run

FILES = {"run.json": Written(3, "ab"), "tokens/part-00000.parquet": Written(7, "cd", 2)}


def test_what_was_sealed_is_read_again(tmp_path: Path) -> None:
    seal(tmp_path, 1, FILES)
    assert sealed(tmp_path) == (1, FILES)
    with pytest.raises(FileNotFoundError):
        sealed(tmp_path / "elsewhere")


def test_no_byte_of_it_can_be_another(tmp_path: Path) -> None:
    seal(tmp_path, 1, FILES)
    path = tmp_path / "manifest.json"
    data = path.read_bytes()
    for at in range(len(data)):
        for other in {data[at] ^ 1, data[at] ^ 32, 32, 10} - {data[at]}:
            path.write_bytes(data[:at] + bytes([other]) + data[at + 1 :])
            with pytest.raises(ValueError, match=r"."):
                sealed(tmp_path)
    for whole in (b"", b"[]", b"{}", data + b"\n", data[:-1], b"\xef\xbb\xbf" + data):
        path.write_bytes(whole)
        with pytest.raises(ValueError, match=r"."):
            sealed(tmp_path)


@pytest.mark.parametrize("reads", [lambda path: sealed(path.parent), read])
def test_however_deep_its_entries_are_it_is_damaged(reads: Callable[[Path], object], tmp_path: Path) -> None:
    """Entries a few levels above the deepest that can be parsed cannot be spelled again."""
    seal(tmp_path, 1, FILES)
    path = tmp_path / "manifest.json"
    text = path.read_text()
    deepest = next(depth for depth in count(100) if not _can_be_parsed("[" * depth + "]" * depth))
    for depth in (100, *range(deepest - 20, deepest + 2)):
        path.write_text(text.replace('"files": ', f'"x": {"[" * depth}{"]" * depth}, "files": ', 1))
        with pytest.raises(ValueError, match=r"sha256 differs|recursion|nested too deeply"):
            reads(path)


def _can_be_parsed(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return False
    return True


@pytest.mark.parametrize("resumed", [False, True])
def test_every_file_of_a_run_is_in_it(
    resumed: bool, actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("".join(f"line {number}\n" for number in range(7)))
    arguments = ("capture", "in.txt", "-o", "x", "--layers", "0", "--shard-sequences", "2", "-q")
    assert actkit(*arguments).status == 0
    if resumed:
        Path("x").rename("x.partial")
        for name in ("tokens/part-00002.parquet", "run.json", "manifest.json", "config.yaml"):
            Path("x.partial", name).unlink()
        assert actkit(*arguments, "--resume").status == 0
    shards, files = sealed(Path("x"))
    there = {path.relative_to("x").as_posix() for path in Path("x").rglob("*") if path.is_file()}
    assert shards == 4 and set(files) == there - {"manifest.json"}
    assert {"run.json", "config.yaml", "fingerprint.json", "shards/part-00003.json"} <= set(files)
    for name, written in files.items():
        data = Path("x", name).read_bytes()
        assert (written.bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (written.rows is not None) == name.endswith(".parquet")
    rows = json.loads(Path("x/run.json").read_text())["tables"]["tokens"]["rows"]
    assert sum(file.rows or 0 for name, file in files.items() if name.startswith("tokens/")) == rows
