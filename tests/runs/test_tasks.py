"""Shares of tasks become one unfinished run; a share that is missing, unfinished or another's is named."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actkit.config import Task
from actkit.errors import RunError
from actkit.runs.atomic_files import write_text
from actkit.runs.facts import Begun
from actkit.runs.manifest import InputPosition, Manifest, save
from actkit.runs.progress import Progress
from actkit.runs.tasks import divisions, gather, remove_shares, shares, task_text

END = InputPosition(read=5, next_sequence_id=9, input_digest="d")
OTHER_TYPES = '{"fingerprint": 1, "replaces": 2, "sessions": 3}'


def share(out: Path, number: int, of: int, shards: int = 3, *, done: bool = True, **fingerprint: Any) -> Path:
    """A task's directory: its shards' manifests, each with one table, and what it was begun with."""
    folder = out.with_name(f"{out.name}.{number}-of-{of}.partial")
    (folder / "shards").mkdir(parents=True)
    for part in range(number, shards, of):
        written = write_text(folder / "tokens" / f"part-{part:05d}.parquet", f"part {part}")
        save(folder, Manifest(part, {"tokens": written}, None, Progress(), InputPosition(), 8, 8), {})
    about = {"command": "capture", "option.layers": "1", **fingerprint}
    begun = Begun(about, replaces=number == 1, sessions=[{"began": 10.0 - number, "host": f"node{number}"}])
    (folder / "fingerprint.json").write_text(begun.text())
    (folder / "config.yaml").write_text("command: capture\n")
    if done:
        (folder / "task.json").write_text(task_text(Task(number, of), shards, END))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "x[1]"  # a name that glob would take for a pattern


def test_the_tasks_that_have_begun_are_told_by_their_names(out: Path) -> None:
    for name in ("2-of-4", "0-of-4", "10-of-12", "01-of-4", "0-of-04", "a-of-4"):
        out.with_name(f"{out.name}.{name}.partial").mkdir()
    out.with_name(f"{out.name}.1-of-4").mkdir()
    out.with_name(f"{out.name}y.1-of-4.partial").mkdir()
    assert divisions(out) == {4: [0, 2], 12: [10]}


def test_shares_become_one_unfinished_run(out: Path) -> None:
    folders = [share(out, number, 2) for number in (0, 1)]
    assert gather(out) == "capture"
    partial = out.with_name(f"{out.name}.partial")
    found = {path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()}
    parts = {f"tokens/part-0000{n}.parquet" for n in range(3)} | {f"shards/part-0000{n}.json" for n in range(3)}
    assert found == parts | {"fingerprint.json", "config.yaml"}
    assert (partial / "tokens/part-00001.parquet").read_text() == "part 1"
    assert (partial / "tokens/part-00001.parquet").samefile(folders[1] / "tokens/part-00001.parquet"), "no room twice"
    begun = json.loads((partial / "fingerprint.json").read_text())
    assert begun["replaces"] is True, "one of them was begun to replace a run"
    assert [session["host"] for session in begun["sessions"]] == ["node1", "node0"], "in the order of their beginning"
    assert gather(out) == "capture", "it may be done again"
    remove_shares(out)
    assert sorted(path.name for path in out.parent.iterdir()) == [partial.name]


def test_files_are_copied_where_there_are_no_links(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links")

    folder = share(out, 0, 1, shards=1)
    monkeypatch.setattr(os, "link", refuse)
    gather(out)
    copy = out.with_name(f"{out.name}.partial") / "tokens/part-00000.parquet"
    assert copy.read_text() == "part 0" and not copy.samefile(folder / "tokens/part-00000.parquet")


def test_a_task_may_have_no_shard_at_all(out: Path) -> None:
    for number in range(4):
        share(out, number, 4, shards=2)
    assert [len(each.manifests) for each in shares(out)] == [1, 1, 0, 0]


def refused(out: Path) -> tuple[str, str]:
    with pytest.raises(RunError) as error:
        shares(out)
    assert not out.with_name(f"{out.name}.partial").exists()
    return error.value.message.replace(str(out), "OUT"), error.value.hint


def test_tasks_that_are_missing_are_named(out: Path) -> None:
    assert refused(out)[0] == "no task of OUT has begun here"
    share(out, 0, 3)
    assert refused(out) == (
        "tasks 1, 2 of 3 are missing beside OUT",
        "run what is missing first, with --shard 1/3",
    )
    share(out, 1, 3)
    assert refused(out)[0] == "task 2 of 3 is missing beside OUT"
    share(out, 1, 9)
    assert refused(out)[0] == "OUT was divided in several ways: there are tasks 0/3 and 1/9"


def test_many_missing_tasks_are_counted(out: Path) -> None:
    share(out, 0, 9)
    assert refused(out)[0] == "tasks 1, 2, 3, 4, 5 and 3 more of 9 are missing beside OUT"


def test_a_task_that_is_not_done_says_how_far_it_is(out: Path) -> None:
    share(out, 0, 2)
    share(out, 1, 2, shards=5, done=False)
    says, hint = refused(out)
    assert says == "task 1 of 2 is not done: OUT.1-of-2.partial has 2 finished shards"
    assert hint == "go on with it: the same command with --shard 1/2 --resume"


def test_a_shard_that_is_missing_or_damaged_is_named(out: Path) -> None:
    share(out, 0, 2)
    folder = share(out, 1, 2, shards=6)
    (folder / "shards/part-00003.json").unlink()
    says, hint = refused(out)
    assert says == "task 1 of 2: OUT.1-of-2.partial/shards/part-00003.json is missing"
    assert hint == "compute it again: the same command with --shard 1/2 --resume"
    (folder / "shards/part-00005.json").write_text("{}")
    assert "part-00005.json is damaged" in refused(out)[0]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("task.json", '{"task": 1, "tasks": 2, "shards": "3", "end": {}}', "other entries"),
        ("task.json", "[", "."),
        ("fingerprint.json", "{", "."),
    ],
)
def test_a_file_of_a_share_that_cannot_be_read_is_named(out: Path, name: str, text: str, why: str) -> None:
    share(out, 0, 2)
    (share(out, 1, 2) / name).write_text(text)
    says, hint = refused(out)
    assert says.startswith(f"OUT.1-of-2.partial/{name} cannot be read (") and why in says
    assert hint == "run that task again, with --overwrite"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"option.layers": "2"}, "layers is '1' and '2'"),
        ({"command": "dpo"}, "command is 'capture' and 'dpo'"),
        ({"command": "dpo", "option.layers": "2"}, "layers is '1' and '2'"),
        ({"shards": 4}, "their inputs differ: 5 and 5 records in 3 and 4 shards"),
    ],
)
def test_tasks_of_different_runs_do_not_belong_together(out: Path, change: dict[str, Any], why: str) -> None:
    share(out, 0, 2)
    share(out, 1, 2, **change)
    assert refused(out) == (
        f"tasks 0 of 2 and 1 of 2 of OUT do not belong together: {why}",
        "give every task the same command and input; --overwrite begins one again",
    )


@pytest.mark.parametrize("text", [Begun({"command": "dpo"}, replaces=False, sessions=[]).text(), OTHER_TYPES])
def test_an_unfinished_run_of_another_kind_stays(text: str, out: Path) -> None:
    share(out, 0, 1)
    partial = out.with_name(f"{out.name}.partial")
    partial.mkdir()
    (partial / "fingerprint.json").write_text(text)
    with pytest.raises(RunError, match="is an unfinished run of another kind") as error:
        gather(out)
    assert error.value.hint == "move it away, then merge again"
    assert [path.name for path in partial.iterdir()] == ["fingerprint.json"]


def test_what_somebody_put_into_a_share_keeps_it(out: Path) -> None:
    folders = [share(out, number, 2) for number in (0, 1)]
    (folders[0] / "notes.txt").write_text("mine")
    remove_shares(out)
    assert [folder.exists() for folder in folders] == [True, False]
