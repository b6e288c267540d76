"""`--engine ray` on clusters of several nodes, which no other test's connection to Ray may stand in for."""

import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.progress import OnProgress, Progress
from tests.engines.runs import check_same, dense, finished_shards
from tests.faults.runs import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("in_a_folder"),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    assert not ray.is_initialized(), "what is asked of a cluster here would go to another one"
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def lose(cluster: Any, node: Any) -> None:
    """Take a node away with all its processes, as a machine that is switched off takes them."""
    workers = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def held(own: CaptureSpec, common: DenseSpec, on_progress: OnProgress) -> Finished:
    """A command that finishes a shard and then no other, until a node has been taken away."""

    def watch(progress: Progress) -> None:
        on_progress(progress)
        deadline = time.monotonic() + PATIENCE
        while finished_shards(common.output.out) and not Path("taken").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    return run_capture(own, common, watch)


def test_somebody_elses_cluster_on_this_machine_is_not_joined() -> None:
    """Ray itself joins any that it finds."""
    from ray.cluster_utils import Cluster

    from actkit.engines.on_ray import run_on_ray

    run_capture(CaptureSpec(path="in.jsonl"), dense("single"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        run_on_ray(run_capture, None, 2, CaptureSpec(path="in.jsonl"), dense("x"))
    finally:
        cluster.shutdown()
    check_same("single", "x")


def test_a_share_whose_node_is_lost_goes_on_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of three nodes on this machine, of which one that computes is taken away."""
    from ray.cluster_utils import Cluster

    from actkit.engines import driver
    from actkit.engines.on_ray import run_on_ray

    monkeypatch.setattr(driver, "EVERY", 0.02)
    run_capture(CaptureSpec(path="in.jsonl"), dense("single", 1))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        notes: list[str] = []

        def watch(progress: Progress) -> None:
            if not Path("taken").exists() and all(finished_shards(Path(f"x.{n}-of-2")) for n in (0, 1)):
                lose(cluster, nodes[1])
                Path("taken").touch()
            notes.extend(note for note in progress.notes if note not in notes)

        run_on_ray(held, cluster.address, 2, CaptureSpec(path="in.jsonl"), dense("x", 1), watch)
    finally:
        cluster.shutdown()
    assert len(notes) == 1 and "another one goes on" in notes[0]
    check_same("single", "x")
