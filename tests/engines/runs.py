"""A run of each command by one process, in several shards, and what the run of several must have in common with it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from actkit.cli.app import main
from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.recipes.specs import DenseSpec
from actkit.runs.paths import partial_of
from tests.faults.runs import COMMANDS as RECORDS
from tests.faults.runs import facts_of, write_input

SMALL = ("--shard-sequences", "20", "-q")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    **RECORDS,
    "concept": ("concept", "sides.jsonl", "--layers", "1,2"),
    "steer": ("steer", "found", "--layers", "2", "--strengths", "1", "--random", "4", "--answer-tokens", "4"),
}
"""The arguments of each command, in a folder that `write_inputs` has written; every run has more than two shards."""


def write_inputs(folder: Path, found: Path | None = None) -> None:
    """What the commands read; `found` is the finished run of `concept` that `steer` goes on from."""
    write_input(folder)
    rows = [{"positive": f"I love {n}.", "negative": f"I hate {n} very much.", "stem": str(n)} for n in range(30)]
    (folder / "sides.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if found is not None:
        (folder / "found").symlink_to(found)


def build(command: str, found: Path | None, folder: Path) -> None:
    """Run a command in one process, into the directory of its name."""
    write_inputs(folder, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main([*COMMANDS[command], *SMALL, "-o", command])
    assert ended.value.code in (0, None), command


def as_slurm_says(task: int, of: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process be a task of an array."""
    for name, value in (("ID", task), ("COUNT", of), ("MIN", 0), ("MAX", of - 1)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))


def parts(run: Path | str) -> dict[str, bytes]:
    """Every part of every table."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in Path(run).rglob("*.parquet")}


def check_same(single: Path | str, other: Path | str) -> None:
    """Every part has the same bytes, `run.json` says the same of it, and no worker or task has left anything."""
    found = parts(single), parts(other)
    assert found[0] == found[1] and found[0]
    mine, theirs = facts_of(Path(single)), facts_of(Path(other))
    assert {
        name: (mine.get(name), theirs.get(name)) for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)
    } == {}
    assert [path.name for path in Path(other).parent.glob(f"{Path(other).name}*")] == [Path(other).name]


def dense(out: str, shard: int = 12, **more: object) -> DenseSpec:
    """What commands over activations share, with a shard of so many texts."""
    output = OutputSpec(Path(out), **more)  # type: ignore[arg-type]
    return DenseSpec(ModelSpec(device="cpu"), output, "1", batch=BatchSpec(shard_sequences=shard))


def finished_shards(out: Path) -> list[Path]:
    """The manifests of the shards that an unfinished run has finished."""
    return list((partial_of(out) / "shards").glob("*.json"))


@contextmanager
def connected_to_ray() -> Iterator[None]:
    """A Ray cluster of this machine for whoever asks for one meanwhile, whatever address: its workers import once."""
    ray = pytest.importorskip("ray")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with pytest.MonkeyPatch.context() as there:  # a test's folder goes with it, and workers begin where Ray began
            there.chdir(Path(__file__).parent)
            ray.init(address="local", num_cpus=2, **quiet)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(ray, "init", lambda **_: None)
            inner.setattr(ray, "shutdown", lambda: None)
            yield
        ray.shutdown()
