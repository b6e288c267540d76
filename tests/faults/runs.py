"""The real command line in processes of its own, on small inputs in small shards, and what two runs have in common."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from actkit.runs.manifest import finished
from tests.faults.forked import Forked

PAIRS = Path(__file__).parents[1] / "data" / "pairs.jsonl"
SHARDS = ("--shard-sequences", "3", "--batch-tokens", "64")
RECORDS = 150
COMMANDS = {
    "dpo": ("dpo", str(PAIRS), "--layers", "0,2"),
    "capture": ("capture", "in.jsonl", "--layers", "1,2", "--sae-release", "tiny", "--top-k", "5"),
    "sae-extract": ("sae-extract", "in.jsonl", "--save-all-tokens"),
    "feature-dataset": ("feature-dataset", "in.jsonl", "--context-size", "12", "--top-k", "5"),
    "reward-detect": ("reward-detect", "in.jsonl", "--draws", "100"),
}
TIMES = ("seconds", "profile", "tokens_per_second", "peak_memory_mb", "began", "ended", "sessions", "notes")
PATIENCE = 600
"""Seconds after which a process that should have done something is taken to hang."""


def write_input(folder: Path) -> None:
    """Records of several lengths, some of them bad."""
    folder.mkdir(exist_ok=True)
    lines = []
    for number in range(RECORDS):
        text = " ".join(f"word {number}," for _ in range(1 + number % 7))
        row = {
            "prompt": text,
            "text": text,
            "response": "yes",
            "label": ("good", "bad")[number % 2],
            "group": number // 2,
        }
        lines.append("{" if number % 17 == 3 else json.dumps(row))
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


Process: TypeAlias = "subprocess.Popen[str] | Forked"


def fork(arguments: tuple[str, ...], folder: Path) -> Forked:
    """Start actkit in `folder`, where its imports are done: for the many processes that are killed."""
    return Forked(arguments, folder, _environment())


def start(arguments: tuple[str, ...], folder: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start actkit in `folder`, with one thread, and none of the settings of whoever runs the tests."""
    environment = _environment()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "actkit", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **options)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTKIT", "COV", "PYTEST"))}
    return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def ended(process: Process) -> tuple[int, str, str]:
    """Status, standard output and standard error."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode is not None
    return process.returncode, out, err


def call(arguments: tuple[str, ...], folder: Path, **options: Any) -> tuple[int, str, str]:
    """Run actkit to its end."""
    return ended(start(arguments, folder, **options))


def wait_until_it_writes(process: Process, partial: Path, shards: int = 0) -> None:
    """Return when the process holds the run's lock and there are so many shards, or when it has ended."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        try:
            owner = json.loads((partial / "lock").read_text())["pid"]
        except (OSError, ValueError):
            owner = None
        if owner == process.pid and len(list((partial / "shards").glob("part-*.json"))) >= shards:
            return
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"nothing was written: {process.communicate(timeout=PATIENCE)}")
        time.sleep(0.002)


def line_in(err: str) -> tuple[str, ...]:
    """The arguments of the command line that an error's hint gives to continue."""
    words = shlex.split(err.rpartition("continue: ")[2])
    assert words[0] == "actkit", err
    return tuple(words[1:])


def facts_of(run: Path) -> dict[str, Any]:
    """What a run says of itself, but for when, how fast and where it was."""
    found = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del found["options"]["out"]
    return {name: value for name, value in found.items() if name not in TIMES}


def check_same(first: Path, second: Path) -> None:
    """The same files, every table the same row by row, the same counts and health, and nothing left beside the run."""
    files = [sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()) for run in (first, second)]
    assert files[0] == files[1]
    for name in (name for name in files[0] if name.suffix == ".parquet"):
        assert pq.read_table(first / name).equals(pq.read_table(second / name)), name
    mine, other = facts_of(first), facts_of(second)
    assert {
        name: (mine.get(name), other.get(name)) for name in {*mine, *other} if mine.get(name) != other.get(name)
    } == {}
    assert finished(second, unfinished=False)[1] == []
    assert [path.name for path in second.parent.glob(f"*{second.name}.*")] == []
