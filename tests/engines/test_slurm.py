"""`actkit sbatch` on a real Slurm: an array of tasks of which one is killed and requeued, and the merge after them.

Skipped where Slurm is not installed: `apt-get install slurmctld slurmd slurm-client munge`, and be root.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.command_line import Run
from tests.engines.slurm_cluster import PATIENCE, lacking, said, slurm_cluster
from tests.faults.runs import COMMANDS, call, facts_of, write_input

pytestmark = [pytest.mark.slow, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]
TASKS = 2
SHIM = """#!/usr/bin/env bash
if [ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ ! -e requeued ]; then
  (until compgen -G "x.1-of-2.partial/shards/part-*.json" > /dev/null; do sleep 0.01; done; kill -STOP $$) &
fi
exec {python} -m actkit "$@"
"""
"""The command line, whose second task stands still after a shard until it is requeued: its share lasts a second."""


@pytest.fixture
def cluster() -> Iterator[Mapping[str, str]]:
    with slurm_cluster() as variables:
        yield variables


def wait_for(done: Callable[[], object], variables: Mapping[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 2 * PATIENCE
    while not done():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(errors="replace")[-500:] for path in folder.glob("slurm-*.out"))
            raise AssertionError(f"{said(variables, 'squeue')}\n{logs}")
        time.sleep(0.1)


def test_an_array_of_which_a_task_is_killed_and_requeued(
    cluster: Mapping[str, str], actkit: Run, tmp_path: Path
) -> None:
    write_input(tmp_path)
    line = (*COMMANDS["feature-dataset"], "--shard-sequences", "3", "-q", "-o", "x")
    shim = tmp_path / "bin" / "actkit"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(python=sys.executable))
    shim.chmod(0o755)
    own = {**cluster, "PATH": f"{shim.parent}:{cluster['PATH']}", "OMP_NUM_THREADS": "1"}
    script = actkit("sbatch", "-n", str(TASKS), "--slurm", "--time=1:00:00", *line)
    assert script.status == 0, script.err
    done = subprocess.run(
        ["bash", "-c", script.out], cwd=tmp_path, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = tmp_path / f"x.1-of-{TASKS}.partial"
    wait_for(lambda: list((first / "shards").glob("part-*.json")), cluster, tmp_path)
    jobs = (line.split() for line in said(cluster, "squeue", "-h", "-o", "%F %j").splitlines())
    array = next(number for number, name in jobs if not name.endswith("-merge"))
    assert not (first / "task.json").exists(), "it was over before it stood still"
    (tmp_path / "requeued").touch()
    subprocess.run(["scontrol", "requeue", f"{array}_1"], env=dict(cluster), check=True)
    before = len(list((first / "shards").glob("part-*.json")))

    def again() -> bool:
        """A task that was requeued waits for two minutes, unless it is told to begin now."""
        said(cluster, "scontrol", "update", f"JobId={array}_1", "StartTime=now")
        return not said(cluster, "squeue", "-h").strip()

    wait_for(again, cluster, tmp_path)
    logs = "\n".join(path.read_text(errors="replace")[-500:] for path in tmp_path.glob("slurm-*.out"))
    assert (tmp_path / "x").is_dir(), logs
    assert call((*line[:-1], "single"), tmp_path)[0] == 0
    single, merged = (
        {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.parquet")}
        for run in (tmp_path / "single", tmp_path / "x")
    )
    assert single == merged and before > 0
    sessions = json.loads((tmp_path / "x" / "run.json").read_text(encoding="utf-8"))["sessions"]
    shards = len(list((tmp_path / "x" / "sequences").iterdir()))
    assert any(0 < session["shards_before"] < shards for session in sessions), "it went on where it was"
    facts = facts_of(tmp_path / "x")
    assert facts["counts"] == facts_of(tmp_path / "single")["counts"]
    assert not list(tmp_path.glob("x.*")), "the tasks' folders are gone"
    assert actkit("verify", tmp_path / "x").status == 0
