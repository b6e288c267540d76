"""Shards read one ahead: the same shards, the same counts at the end of each, the same errors."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actkit import BatchSpec, CaptureSpec, DenseSpec, ModelSpec, OutputSpec, run_capture
from actkit.errors import InputError
from actkit.pipeline import compute, extract
from actkit.pipeline.shards.ahead import ahead
from actkit.pipeline.shards.shard import Shard
from actkit.runs.progress import Progress

LINES = ["a day", "", "two days", "three", "", "", "four days and more", "five", "six of them", "seven"]


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, but that the CPU is the device."""
    monkeypatch.setattr(compute, "has_own_time", lambda _device: True)
    monkeypatch.setattr(extract, "has_own_time", lambda _device: True)


def run(folder: Path, name: str, lines: list[str] = LINES, **output: Any) -> Path:
    (folder / "in.txt").write_text("\n".join(lines) + "\n")
    spec = DenseSpec(
        ModelSpec(device="cpu"),
        batch=BatchSpec(shard_sequences=2),
        output=OutputSpec(folder / name, **output),
        layers="2",
    )
    return run_capture(CaptureSpec(path=str(folder / "in.txt")), spec).path


def manifests(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(entry.read_text()) for entry in sorted((path / "shards").glob("*.json"))]
    for row in found:
        del row["sha256"]  # of the manifest, which has seconds in it
        row["progress"] = {key: row["progress"][key] for key in ("read", "written", "rejected", "reasons", "tokens")}
    return found


def test_what_is_counted_is_in_the_manifest_of_its_own_shard(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    at_once = run(tmp_path, "at-once")
    request.getfixturevalue("side_by_side")
    found = run(tmp_path, "ahead")
    assert len(manifests(found)) == 4
    assert manifests(found) == manifests(at_once)
    for table in ("sequences", "tokens", "activations", "rejected"):
        pd.testing.assert_frame_equal(pd.read_parquet(at_once / table), pd.read_parquet(found / table))


def test_the_first_bad_record_ends_it_where_it_is_asked_to(side_by_side: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in\.txt:2: "):
        run(tmp_path, "run", on_bad_record="fail")


@pytest.mark.slow
def test_a_run_that_broke_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    whole = run(tmp_path, "whole")
    request.getfixturevalue("side_by_side")
    write, parts = extract._write, []

    def breaks(*args: Any) -> None:
        write(*args)
        parts.append(1)
        if len(parts) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(extract, "_write", breaks)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "run")
    monkeypatch.setattr(extract, "_write", write)
    assert len(list((tmp_path / "run.partial" / "shards").glob("*.json"))) == 2
    found = run(tmp_path, "run", resume=True)
    assert manifests(found) == manifests(whole)
    pd.testing.assert_frame_equal(pd.read_parquet(whole / "activations"), pd.read_parquet(found / "activations"))


def counting(made: list[int], error: Exception | None = None) -> Any:
    def gather(progress: Progress) -> Iterator[Shard]:
        try:
            for number in range(10):
                progress.read += 1
                made.append(number)
                if error is not None and number == 3:
                    raise error
                yield Shard(kept=number)
        finally:
            made.append(-1)

    return gather


def test_shards_come_in_order_with_what_was_counted_up_to_them() -> None:
    progress = Progress(read=5)
    assert [(shard.kept, progress.read) for shard in ahead(counting([]), progress)] == [(n, n + 6) for n in range(10)]


def test_never_more_than_one_shard_waits() -> None:
    """One is worked on, one waits, and one more is made but not yet handed over."""
    made: list[int] = []
    shards = ahead(counting(made), Progress())
    next(shards)
    for _ in range(600):
        if len(made) == 3:
            break
        time.sleep(0.05)
    time.sleep(0.1)  # in which a fourth would be made
    assert made == [0, 1, 2]
    shards.close()  # type: ignore[attr-defined]


def test_an_error_comes_after_the_shards_before_it() -> None:
    progress = Progress()
    shards = ahead(counting([], ValueError("broken")), progress)
    assert [next(shards).kept for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(shards)
    assert progress.read == 4


def test_nobody_reads_on_when_nobody_takes_any_more() -> None:
    made: list[int] = []
    shards = ahead(counting(made), Progress())
    next(shards)
    shards.close()  # type: ignore[attr-defined]
    for _ in range(100):
        if made[-1] == -1:
            break
        time.sleep(0.05)
    assert made[-1] == -1 and 9 not in made
    assert not [
        thread for thread in threading.enumerate() if thread.name == "read" and thread.is_alive() and made[-1] != -1
    ]
