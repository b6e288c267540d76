"""SIGKILL at random moments, again and again, then the run is continued: it is the one that was never killed."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.runs import COMMANDS, SHARDS, call, check_same, ended, fork, wait_until_it_writes, write_input

KILLS = 12
"""For each command: 60 in all."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("signals_as_in_a_terminal")]


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments_and_continued_is_the_same_run(command: str, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    write_input(whole)
    write_input(part)
    arguments = (*COMMANDS[command], *SHARDS, "--out", "run")
    status, _, err = call(arguments, whole)
    assert status == 0, err
    facts = json.loads((whole / "run" / "run.json").read_text())
    lasts = facts["ended"] - facts["began"]
    moments = random.Random(command)
    kills = 0
    shards = []
    while kills < KILLS:
        process = fork((*arguments, "--resume"), part)
        wait_until_it_writes(process, part / "run.partial")
        # Short of the whole, so that there is something left for the next kill; now and then it comes to the end.
        time.sleep(moments.uniform(0, lasts * moments.choice([0.1, 0.3, 0.6])))
        process.kill()
        status, _, err = ended(process)
        if status == 0:
            check_same(whole / "run", part / "run")
            (part / "run").rename(part / f"done-{kills}")
            continue
        assert status == -signal.SIGKILL, err
        kills += 1
        shards.append(len(list((part / "run.partial" / "shards").glob("part-*.json"))))
    status, out, err = call((*arguments, "--resume"), part)
    assert (status, out) == (0, "run\n"), err
    check_same(whole / "run", part / "run")
    assert any(shards)
