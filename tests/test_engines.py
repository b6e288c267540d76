"""`--engine ray` and `--shard auto`: the run of several workers is the one of a single process, whatever ends them."""

import json
import os
import signal
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from actkit.config import BatchSpec, ModelSpec, OutputSpec, Task
from actkit.engines import shares
from actkit.engines.children import run_on_children
from actkit.errors import InputError, RunError
from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.manifest import read
from actkit.runs.progress import OnProgress, Progress
from tests.command_line import Run
from tests.faults.runs import COMMANDS, PATIENCE, call, ended, facts_of, line_in, start, write_input

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
SMALL = ("--shard-sequences", "6", "-q")
RAY = ("--engine", "ray", "--workers", "2")
OWN = ("--shard", "auto", "--workers", "2")
ENGINES = [pytest.param(OWN, id="own"), pytest.param(RAY, marks=needs_ray, id="ray")]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path)


def check_same(single: str, other: str) -> None:
    found = [{str(p.relative_to(run)): p.read_bytes() for p in Path(run).rglob("*.parquet")} for run in (single, other)]
    assert found[0] == found[1] and found[0]
    value, two = facts_of(Path(single)), facts_of(Path(other))
    assert {name: (value.get(name), two.get(name)) for name in {*value, *two} if value.get(name) != two.get(name)} == {}
    assert [path.name for path in Path().glob(f"{other}*")] == [other]


def owner_of(share: str, shards: int, process: "object") -> int:
    """The worker that writes a share, once it has so many shards."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:  # type: ignore[attr-defined]
        try:
            pid = int(json.loads((Path(share) / "lock").read_text())["pid"])
        except (OSError, ValueError):
            pid = 0
        if pid and len(list((Path(share) / "shards").glob("part-*.json"))) >= shards:
            return pid
        time.sleep(0.005)
    raise AssertionError(f"no worker wrote {share}")


def test_what_no_engine_can_be_asked(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for more, says in (
        (("in.jsonl", "-o", "x", "--engine", "dask"), "--engine dask is not known"),
        (("in.jsonl", "-o", "x", "--workers", "2"), "--workers without --engine"),
        (("in.jsonl", "-o", "x", "--workers", "2", "--shard", "0/2"), "--workers without --engine"),
        (("-", "-o", "x", "--shard", "auto", "--workers", "2"), "standard input"),
        (("in.jsonl", "-o", "s3://b/x", "--shard", "auto", "--workers", "2"), "a folder that all of them see"),
        (("in.jsonl", "-o", "x", "--shard", "auto", "--device", "cuda:1"), "--device cuda:1 names one"),
        (("in.jsonl", "-o", "x", "--shard", "auto", "--device", "cpu"), "no GPU"),
    ):
        wrong = actkit("capture", *more)
        assert wrong.status == 2 and says in wrong.err, (more, wrong.err)
    monkeypatch.setattr("actkit.cli.options.engine.find_spec", lambda _name: None)
    missing = actkit("capture", "in.jsonl", "-o", "x", "--engine", "ray")
    assert missing.status == 2 and "pip install 'actkit[ray]'" in missing.err and not list(Path().glob("x*"))
    monkeypatch.setattr("actkit.cli.options.engine.find_spec", lambda _name: True)
    for more, says in (
        (("-", "-o", "x", "--engine", "ray"), "standard input"),
        (("in.jsonl", "-o", "x", "--engine", "ray", "--shard", "0/2"), "both given"),
        (("in.jsonl", "-o", "s3://b/x", "--engine", "ray"), "a folder that all of them see"),
    ):
        wrong = actkit("capture", *more)
        assert wrong.status == 2 and says in wrong.err, (more, wrong.err)


def test_the_manifest_of_a_finished_shard_is_read_once(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    share = actkit("capture", "in.jsonl", "-o", "x", "--layers", "0", "--shard", "0/2", "--shard-sequences", "20")
    assert share.status == 0, share.err
    made = sorted(Path("x.0-of-2.partial/shards").glob("*.json"))
    asked: list[Path] = []
    monkeypatch.setattr(shares, "read", lambda path: asked.append(path) or read(path))
    known = shares.FinishedShards(OutputSpec(Path("x")), [Task(0, 2), Task(1, 2)])
    counts = [manifest.progress for manifest in map(read, made)]
    for _ in range(2):
        assert known.counted() == (sum(shard.read for shard in counts), sum(shard.tokens for shard in counts))
    assert len(made) > 1 and asked == made


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_that_is_killed_is_begun_again(engine: tuple[str, ...], tmp_path: Path) -> None:
    arguments = (*COMMANDS["feature-dataset"], *SMALL)
    assert call((*arguments, "-o", "single"), tmp_path)[0] == 0
    process = start((*arguments, "-o", "x", *engine), tmp_path)
    os.kill(owner_of("x.1-of-2.partial", 1, process), signal.SIGKILL)
    status, out, err = ended(process)
    assert (status, out) == (0, "x\n"), err
    assert len(facts_of(Path("x"))) and len(json.loads(Path("x/run.json").read_text())["sessions"]) >= 3
    check_same("single", "x")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "arguments",
    [
        COMMANDS["sae-extract"],
        COMMANDS["reward-detect"],
        COMMANDS["capture"],
        ("concept", "honesty", "--layers", "1,2"),
        ("steer", "found", "--layers", "2", "--strengths", "1", "--random", "4", "--answer-tokens", "4"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_other_commands_have_the_run_of_one_process(
    arguments: tuple[str, ...], engine: tuple[str, ...], tmp_path: Path
) -> None:
    if arguments[0] == "steer":
        assert call(("concept", "honesty", "--layers", "1,2", "-q", "-o", "found"), tmp_path)[0] == 0
    arguments = (*arguments, "--shard-sequences", "20", "-q")
    assert call((*arguments, "-o", "single"), tmp_path)[0] == 0
    status, out, err = call((*arguments, "-o", "x", *engine), tmp_path)
    assert (status, out) == (0, "x\n"), err
    check_same("single", "x")


@pytest.mark.slow
@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_run_goes_on(engine: tuple[str, ...], tmp_path: Path) -> None:
    arguments = (*COMMANDS["dpo"], *SMALL)
    assert call((*arguments, "-o", "single"), tmp_path)[0] == 0
    process = start((*arguments, "-o", "x", *engine), tmp_path)
    worker = owner_of("x.0-of-2.partial", 1, process)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert status == 130 and "finished shard" in err and " ".join(engine) in err, err
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    status, _, err = call(line_in(err), tmp_path)
    assert status == 0, err
    check_same("single", "x")


def dense(out: str, shard: int = 12, **more: object) -> DenseSpec:
    output = OutputSpec(Path(out), **more)  # type: ignore[arg-type]
    return DenseSpec(ModelSpec(device="cpu"), output, "1", batch=BatchSpec(shard_sequences=shard))


def dying(own: CaptureSpec, common: DenseSpec, on_progress: OnProgress) -> Finished:
    """A command that ends its process at the fourth shard, as a record might that makes a library crash."""

    def watch(progress: Progress) -> None:
        if common.output.task is not None and common.output.task.number == 1 and progress.computed >= 40:
            os.kill(os.getpid(), signal.SIGKILL)
        on_progress(progress)

    return run_capture(own, common, watch)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_shard_that_ends_its_workers_is_named_and_an_error_of_a_worker_is_ours(engine: tuple[str, ...]) -> None:
    run_on = shared_out(engine)
    seen: list[float] = []

    def watch(progress: Progress) -> None:
        seen.append(progress.computed)

    with pytest.raises(RunError, match=r"shard \d+ of x ended its worker 3 times"):
        run_on(dying, CaptureSpec(path="in.jsonl"), dense("x"), watch)
    assert max(seen) > 0
    with pytest.raises(InputError, match=r"in\.jsonl:4"):
        run_on(run_capture, CaptureSpec(path="in.jsonl"), dense("y", on_bad_record="fail"))


def shared_out(engine: tuple[str, ...]) -> Any:
    """Two workers of Ray's or of our own, for a command's function."""
    if engine == RAY:
        from actkit.engines.on_ray import run_on_ray

        return lambda run, *more: run_on_ray(run, None, 2, *more)
    return lambda run, *more: run_on_children(run, 2, *more)


def lose(cluster: Any, node: Any) -> None:
    """Take a node away with all its processes, as a machine that is switched off takes them."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    workers = raylet.children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


@needs_ray
@pytest.mark.slow
def test_somebody_elses_cluster_on_this_machine_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself joins any that it finds."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    from ray.cluster_utils import Cluster

    from actkit.engines.on_ray import run_on_ray

    run_capture(CaptureSpec(path="in.jsonl"), dense("single"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        run_on_ray(run_capture, None, 2, CaptureSpec(path="in.jsonl"), dense("x"))
    finally:
        cluster.shutdown()
    check_same("single", "x")


@needs_ray
@pytest.mark.slow
def test_a_share_whose_node_is_lost_goes_on_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of three nodes on this machine, of which one that computes is taken away."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    from actkit.engines import driver
    from actkit.engines.on_ray import run_on_ray

    monkeypatch.setattr(driver, "EVERY", 0.02)
    run_capture(CaptureSpec(path="in.jsonl"), dense("single", 1))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        notes: list[str] = []
        removed: list[float] = []

        def watch(progress: Progress) -> None:
            if len(nodes) == 2 and all(Path(f"x.{n}-of-2.partial/lock").exists() for n in (0, 1)):
                removed.append(progress.computed)
                lose(cluster, nodes.pop())
            notes.extend(note for note in progress.notes if note not in notes)

        run_on_ray(run_capture, cluster.address, 2, CaptureSpec(path="in.jsonl"), dense("x", 1), watch)
    finally:
        cluster.shutdown()
    assert removed and len(notes) == 1 and "another one goes on" in notes[0]
    check_same("single", "x")
