"""Who writes a run in a store: nobody takes it over from a process that lives, everybody from one that has ended."""

import json
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actkit.errors import RunError
from actkit.runs import claim, lock_owner
from actkit.runs.json_file import object_if_any
from actkit.runs.lock_owner import this_process

RUN, LOCK = "s3://bucket/run", "s3://bucket/run/lock"
Objects = dict[str, str]


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """A store of texts in memory."""
    found: Objects = {}

    def put_new(url: str, text: str) -> bool:
        return url not in found and found.setdefault(url, text) == text

    def read(path: Path) -> dict[str, Any]:
        (tmp_path / "lock").write_text(found[str(path)])
        return object_if_any(tmp_path / "lock")

    monkeypatch.setattr(claim, "store", SimpleNamespace(put_new=put_new, put_text=found.__setitem__))
    monkeypatch.setattr(claim, "object_if_any", read)
    monkeypatch.setattr(claim, "SETTLED", 0.0)
    return found


def owner(age: float = 0, **changes: Any) -> str:
    return json.dumps({**asdict(this_process(flock=False)), "time": time.time() - age} | changes)


def mine(objects: Objects) -> bool:
    return bool(json.loads(objects[LOCK])["pid"] == os.getpid())


def test_a_free_place_is_claimed_and_touched(objects: Objects) -> None:
    claim.take(RUN)
    before = json.loads(objects[LOCK])
    claim.touch(RUN)
    after = json.loads(objects[LOCK])
    assert mine(objects) and after["host"] == socket.gethostname() and after["time"] >= before["time"]


PARENT = {"pid": os.getppid(), "started": lock_owner._started(os.getppid())}


@pytest.mark.parametrize(
    "by",
    [PARENT, {**PARENT, "age": 999}, {"pid": 2**22 + 1, "started": None}, {"host": "elsewhere", "pid": 7}],
    ids=["alive", "alive, and silent", "unknown, and young", "elsewhere, and young"],
)
def test_a_place_that_another_process_holds_is_left_to_it(objects: Objects, by: dict[str, Any]) -> None:
    held = objects[LOCK] = owner(**by)
    with pytest.raises(RunError, match=r"s3://bucket/run is being written by process \d+ on ") as error:
        claim.take(RUN)
    assert "120 seconds" in error.value.hint and objects[LOCK] == held


@pytest.mark.parametrize(
    "by",
    [
        {},
        {"pid": 2**22 + 1},
        {"pid": os.getppid()},
        {"pid": "x", "age": 121},
        {"pid": -1, "age": 121},
        {"host": "elsewhere", "age": 121},
        {"started": "another boot:5", "age": 121},
    ],
    ids=["this one", "ended", "its number came again", "no number", "no process", "elsewhere, and old", "booted since"],
)
def test_a_place_that_nobody_holds_any_more_is_taken_over(objects: Objects, by: dict[str, Any]) -> None:
    objects[LOCK] = owner(**by)
    claim.take(RUN)
    assert mine(objects)


@pytest.mark.parametrize("left", ["no JSON", "[]", ""])
def test_a_claim_that_says_nothing_is_taken_over(objects: Objects, left: str) -> None:
    objects[LOCK] = left
    claim.take(RUN)
    assert mine(objects)
