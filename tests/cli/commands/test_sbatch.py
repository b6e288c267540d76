"""The script of `actkit sbatch`: which words go to each task, which to the merge, and what sbatch is told."""

import re
import shlex

import pytest

from actkit.cli.commands import sbatch as module
from tests.command_line import Run


def lines(script: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """What sbatch is given for the array and for the merge, without the wrapped lines, and those lines' words."""
    array, merge = (shlex.split(line) for line in re.sub(r"array=\$\((.*)\)", r"\1", script).splitlines()[3:])
    wrapped = [shlex.split(words[-1].removeprefix("--wrap=")) for words in (array, merge)]
    return array[:-1], merge[:-1], *wrapped


@pytest.mark.parametrize(
    ("words", "own", "whole"),
    [
        (["dpo", "a b.jsonl", "-o", "runs/x"], ["dpo", "a b.jsonl", "-o", "runs/x"], ["runs/x"]),
        (["dpo", "p.jsonl", "--out=x", "--report"], ["dpo", "p.jsonl", "--out=x"], ["x", "--report"]),
        (["dpo", "--export", "h5", "p", "--output", "x"], ["dpo", "p", "--output", "x"], ["x", "--export", "h5"]),
        (["dpo", "p", "-o", "x", "--export=h5", "-q"], ["dpo", "p", "-o", "x", "-q"], ["x", "--export=h5"]),
        (["capture", "p", "-o", "it's", "--export", "pt", "--export", "npz"], ["capture", "p", "-o", "it's"],
         ["it's", "--export", "pt", "--export", "npz"]),
    ],
)  # fmt: skip
def test_what_is_about_the_whole_run_goes_to_the_merge_alone(
    words: list[str], own: list[str], whole: list[str], actkit: Run
) -> None:
    array, merge, each, last = lines(actkit("sbatch", "-n", "3", *words).out)
    name = f"--job-name=actkit-{words[0]}-{whole[0].rpartition('/')[2]}"
    assert array == ["sbatch", "--parsable", "--requeue", name, "--array=0-2"]
    assert merge == ["sbatch", f"{name}-merge", "--dependency=afterok:$array"]
    assert each[: len(own) + 2] == ["actkit", *own, "--date"] and each[-3:] == ["--shard", "auto", "--resume"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", each[-4]) and len(each) == len(own) + 6
    assert last == ["actkit", "merge", *whole]


def test_options_for_slurm_are_told_to_both_and_a_date_that_is_given_stays(actkit: Run) -> None:
    options = "--gres=gpu:1  --time=4:00:00 "
    line = ("dpo", "p", "-o", "x", "--date=2026-01-02")
    array, merge, each, _ = lines(actkit("sbatch", "--slurm", options, *line).out)
    assert array[-3:] == ["--array=0-3", "--gres=gpu:1", "--time=4:00:00"] and merge[-2:] == array[-2:]
    assert each == ["actkit", *line, "--shard", "auto", "--resume"]
    *_, steered, _ = lines(actkit("sbatch", "steer", "runs/x", "-o", "y").out)
    assert steered == ["actkit", "steer", "runs/x", "-o", "y", "--shard", "auto", "--resume"], "no template sees a date"


@pytest.mark.parametrize("flag", module.NOT_HERE)
def test_what_the_script_says_itself_is_refused(flag: str, actkit: Run) -> None:
    wrong = actkit("sbatch", "dpo", "p", "-o", "x", f"{flag}=1")
    assert (wrong.status, wrong.out) == (2, "") and f"{flag}=1: the script says that itself" in wrong.err
