"""Several tasks make the run that one process makes, byte for byte, whatever their order, number and ends."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actkit.cli.options.engine import task_of_text
from actkit.config import Task
from actkit.errors import UsageError
from tests.command_line import Run
from tests.conftest import Single
from tests.engines.runs import COMMANDS, SMALL, as_slurm_says, check_same, parts
from tests.faults.runs import ended, fork, wait_until_it_writes

pytestmark = pytest.mark.usefixtures("in_a_folder")
CAPTURE = ("capture", "in.jsonl", "--layers", "1", "--shard-sequences", "12", "-q")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "order"),
    [
        ("capture", (1, 0)),
        ("feature-dataset", (1, 0)),
        ("steer", (1, 0)),
        ("concept", (2, 0, 1)),
        ("dpo", (1, 2, 0)),
        ("capture", (0,)),
        ("sae-extract", (6, 2, 4, 0, 1, 5, 3)),
        ("reward-detect", (0, 2, 1)),
    ],
)
def test_the_run_is_the_one_of_a_single_process(
    command: str,
    order: tuple[int, ...],
    actkit: Run,
    single: Single,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tasks with even numbers are told their share; those with odd ones run the line that Slurm's array is given."""
    if command == "steer":
        Path("found").symlink_to(single("concept"))
    arguments = (*COMMANDS[command], *SMALL, "-o", "x")
    script = actkit("sbatch", "-n", str(len(order)), *arguments).out
    line = shlex.split(shlex.split(script.splitlines()[3].rstrip(")"))[-1].removeprefix("--wrap="))
    if command != "steer":  # no template reads the clock here, and the single run was given no date
        del line[line.index("--date") : line.index("--date") + 2]
    assert tuple(line) == ("actkit", *arguments, "--shard", "auto", "--resume")
    for number in order:
        as_slurm_says(number, len(order), monkeypatch)
        made = actkit(*(line[1:] if number % 2 else (*arguments, "--shard", f"{number}/{len(order)}")))
        assert (made.status, made.out) == (0, f"x.{number}-of-{len(order)}.partial\n"), made.err
    assert actkit("merge", "x", "-q").out == "x\n"
    check_same(single(command), "x")
    assert actkit("verify", "x").status == 0
    again = actkit("merge", "x")
    assert (again.status, again.out) == (0, "x\n"), "what is merged is there"


@pytest.mark.slow
def test_more_tasks_than_shards_and_limits(actkit: Run) -> None:
    arguments = ("capture", "in.jsonl", "--layers", "1", "--max-samples", "5", "--shard-sequences", "12", "-q")
    assert actkit(*arguments, "-o", "single").status == 0
    for number in range(4):
        assert actkit(*arguments, "-o", "x", "--shard", f"{number}/4").status == 0
    assert actkit("merge", "x", "-q", "--export", "pt").status == 0
    assert parts(Path("single")) == parts(Path("x")) and list(Path().glob("*.pt"))


@pytest.mark.slow
def test_what_is_missing_or_does_not_belong_together_is_named(actkit: Run) -> None:
    arguments = CAPTURE
    none = actkit("merge", "x")
    assert none.status == 1 and "no task of x" in none.err
    assert actkit(*arguments, "-o", "x", "--shard", "1/3").status == 0
    missing = actkit("merge", "x")
    assert missing.status == 1 and "tasks 0, 2 of 3 are missing" in missing.err and "--shard 0/3" in missing.err
    assert actkit(*arguments, "-o", "x", "--shard", "0/2").status == 0
    several = actkit("merge", "x")
    assert several.status == 1 and "0/2 and 1/3" in several.err
    shutil.rmtree("x.0-of-2.partial")
    assert actkit(*arguments, "-o", "x", "--shard", "0/3").status == 0
    other = ("capture", "in.jsonl", "--layers", "2", *CAPTURE[4:])
    assert actkit(*other, "-o", "x", "--shard", "2/3").status == 0
    different = actkit("merge", "x")
    assert different.status == 1 and "do not belong together" in different.err and "layers" in different.err
    in_the_way = actkit(*arguments, "-o", "x", "--shard", "2/3")
    assert in_the_way.status == 1 and "unfinished run" in in_the_way.err
    assert actkit(*arguments, "-o", "x", "--shard", "2/3", "--overwrite").status == 0
    (Path("x.2-of-3.partial") / "task.json").unlink()
    undone = actkit("merge", "x")
    assert undone.status == 1 and "task 2 of 3 is not done" in undone.err and "--resume" in undone.err
    part = next(Path("x.1-of-3.partial/tokens").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    assert actkit(*arguments, "-o", "x", "--shard", "2/3", "--resume").status == 0
    healed = actkit("merge", "x", "-q")  # a damaged part is found, and its shard alone is computed again
    assert healed.status == 0, healed.err
    assert actkit(*arguments, "-o", "single").status == 0
    check_same(Path("single"), Path("x"))
    taken = actkit(*arguments, "-o", "x", "--shard", "0/3")
    assert taken.status == 1 and "x exists already" in taken.err
    assert actkit(*arguments, "-o", "x", "--shard", "0/3", "--resume").out == "x\n", "it is complete"


@pytest.mark.slow
def test_another_input_of_one_task_is_found(actkit: Run) -> None:
    arguments = CAPTURE
    assert actkit(*arguments, "-o", "x", "--shard", "0/2").status == 0
    Path("in.jsonl").write_text(Path("in.jsonl").read_text() + '{"prompt": "one more"}\n')
    assert actkit(*arguments, "-o", "x", "--shard", "1/2").status == 0
    found = actkit("merge", "x")
    assert found.status == 1 and "their inputs differ" in found.err


@pytest.mark.parametrize(
    ("text", "says"), [("3/3", "0/3 to 2/3"), ("1-3", "such as 0/4"), ("0/0", "such as 0/4"), ("auto", "no scheduler")]
)
def test_what_is_no_share(text: str, says: str, actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "SGE_TASK_ID", "OMPI_COMM_WORLD_RANK", "RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    wrong = actkit("capture", "in.jsonl", "-o", "x", "--shard", text)
    assert wrong.status == 2 and says in wrong.err and not list(Path().glob("x*"))


def test_what_one_task_cannot_be_asked(actkit: Run) -> None:
    for more, says in (
        (("-", "-o", "x"), "standard input"),
        (("in.jsonl",), "--shard without --out"),
        (("in.jsonl", "-o", "x", "--export", "pt"), "actkit merge"),
        (("in.jsonl", "-o", "x.pt"), "actkit merge"),
        (("in.jsonl", "-o", "s3://b/x"), "a folder that all of them see"),
    ):
        wrong = actkit("capture", *more, "--shard", "0/2")
        assert wrong.status == 2 and says in wrong.err, (more, wrong.err)
    wrong = actkit("steer", "in", "--answers", "-", "-o", "x", "--shard", "0/2")
    assert wrong.status == 2 and "standard input" in wrong.err
    for command in (
        ("concept", "honesty", "--steer"),
        ("reward-detect", "--use-example-data", "--steer"),
        ("sae-extract", "in.jsonl", "--merge-into", "x.json"),
    ):
        wrong = actkit(*command, "-o", "x", "--shard", "0/2")
        assert wrong.status == 2 and "a share is no run yet" in wrong.err, (command, wrong.err)


def test_schedulers_say_which_task_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables, expected in (
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, Task(2, 4)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Task(1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, Task(0, 3)),
    ):
        with monkeypatch.context() as inside:
            for name in ("SLURM_ARRAY_TASK_ID", "SGE_TASK_ID", "OMPI_COMM_WORLD_RANK", "RANK", "SLURM_PROCID"):
                inside.delenv(name, raising=False)
            for name, value in variables.items():
                inside.setenv(name, value)
            assert task_of_text("auto") == expected
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    with pytest.raises(UsageError, match="SLURM_ARRAY_TASK_ID is 9"):
        task_of_text("auto")


@pytest.mark.slow
def test_the_script_for_slurm_runs_the_tasks_and_then_merges(
    actkit: Run, single: Single, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for `sbatch`: what it is given runs here as Slurm says, one task killed and requeued."""
    line = (*COMMANDS["feature-dataset"], *SMALL, "-o", "a run")
    script = actkit("sbatch", "-n", "2", "--slurm", "--time=1:00:00", *line, "--report")
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "with open('asked', 'a') as file: file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "print(41)\n"
    )
    fake.chmod(0o755)
    environment = os.environ | {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script.out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    array, after = map(json.loads, Path("asked").read_text().splitlines())
    assert {"--array=0-1", "--time=1:00:00", "--requeue"} <= {*array} and "--dependency=afterok:41" in after
    each, merge = (shlex.split(job[-1].removeprefix("--wrap=")) for job in (array, after))
    at = each.index("--date")
    del each[at : at + 2]
    for task in (1, 0):
        as_slurm_says(task, 2, monkeypatch)
        if task == 1:
            process = fork(tuple(each[1:]), tmp_path)
            wait_until_it_writes(process, tmp_path / "a run.1-of-2.partial", 1)
            process.kill()
            assert ended(process)[0] == -signal.SIGKILL, "it was over before it could be killed"
        assert actkit(*each[1:]).status == 0
    assert actkit(*merge[1:], "-q").status == 0
    assert Path("a-run.html").exists()
    assert parts("a run") == parts(single("feature-dataset"))
    assert len(json.loads(Path("a run/run.json").read_text())["sessions"]) == 4


def test_what_no_script_is_made_for(actkit: Run) -> None:
    for words, says in (
        ((), "no command"),
        (("nothing", "x"), "no command"),
        (("capture", "in.jsonl"), "no --out"),
        (("capture", "-", "-o", "x"), "standard input"),
        (("capture", "in.jsonl", "-o", "x", "--shard", "0/2"), "the script says that itself"),
    ):
        wrong = actkit("sbatch", *words)
        assert wrong.status == 2 and says in wrong.err, (words, wrong.err)


@pytest.mark.slow
def test_tasks_that_are_killed_go_on_where_they_were(actkit: Run, tmp_path: Path) -> None:
    arguments = (*COMMANDS["feature-dataset"], "--shard-sequences", "6", "-q")
    assert actkit(*arguments, "-o", "single").status == 0
    for number in (1, 0):
        share = (*arguments, "-o", "x", "--shard", f"{number}/2", "--resume")
        for shards in (1, 3):
            process = fork(share, tmp_path)
            wait_until_it_writes(process, tmp_path / f"x.{number}-of-2.partial", shards)
            process.kill()
            assert ended(process)[0] == -signal.SIGKILL, "it was over before it could be killed"
        assert actkit(*share).status == 0
    assert actkit("merge", "x", "-q").status == 0
    check_same("single", "x")
