"""`--engine ray` and `--shard auto`: the run of several workers is the one of a single process, whatever ends them."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from actkit.cli.options import engine as options
from actkit.config import OutputSpec, Task
from actkit.engines import children, driver
from actkit.engines.children import run_on_children
from actkit.errors import InputError, RunError
from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.manifest import read
from actkit.runs.paths import TASK_FILE
from actkit.runs.progress import OnProgress, Progress
from tests.command_line import Run
from tests.conftest import Single
from tests.engines.runs import COMMANDS, SMALL, as_slurm_says, check_same, connected_to_ray, dense, finished_shards
from tests.faults.forked import ForkedChild
from tests.faults.runs import PATIENCE, ended, line_in, start

pytestmark = pytest.mark.usefixtures("in_a_folder")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
RAY = ("--engine", "ray", "--workers", "2")
OWN = ("--shard", "auto", "--workers", "2")
ENGINES = [pytest.param(OWN, id="own"), pytest.param(RAY, marks=needs_ray, id="ray")]


def owner_of(share: str, process: "object", shards: int) -> int:
    """The worker that writes a share, once it has so many shards; one that was killed leaves its lock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:  # type: ignore[attr-defined]
        try:
            pid = int(json.loads((Path(share) / "lock").read_text())["pid"])
        except (OSError, ValueError):
            pid = -1
        if psutil.pid_exists(pid) and len(list((Path(share) / "shards").glob("part-*.json"))) >= shards:
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
    monkeypatch.setattr(options, "find_spec", lambda _name: None)
    missing = actkit("capture", "in.jsonl", "-o", "x", "--engine", "ray")
    assert missing.status == 2 and "pip install 'actkit[ray]'" in missing.err and not list(Path().glob("x*"))
    monkeypatch.setattr(options, "find_spec", lambda _name: True)
    for more, says in (
        (("-", "-o", "x", "--engine", "ray"), "standard input"),
        (("in.jsonl", "-o", "x", "--engine", "ray", "--shard", "0/2"), "both given"),
        (("in.jsonl", "-o", "s3://b/x", "--engine", "ray"), "a folder that all of them see"),
    ):
        wrong = actkit("capture", *more)
        assert wrong.status == 2 and says in wrong.err, (more, wrong.err)


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        (None, 1, "Ray cannot start a cluster on this machine (Not a directory: '/tmp/x/ray')"),
        ("10.0.0.7:6379", 2, "no cluster at 10.0.0.7:6379 (Not a directory"),
    ],
)
def test_a_cluster_that_there_cannot_be_is_said_with_what_helps(
    address: str | None, status: int, says: str, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: Any) -> None:
        raise NotADirectoryError("Not a directory: '/tmp/x/ray'")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(options, "find_spec", lambda _name: True)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: None))
    wrong = actkit("capture", "in.jsonl", "-o", "x", "--engine", f"ray:{address}" if address else "ray")
    assert wrong.status == status and says in wrong.err, wrong.err
    helps = "ray status names its address" if address else "RAY_TMPDIR"
    assert helps in wrong.err and (address is not None or "--shard auto --workers 2" in wrong.err)


def test_the_manifest_of_a_finished_shard_is_read_once(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    share = actkit("capture", "in.jsonl", "-o", "x", "--layers", "0", "--shard", "0/2", "--shard-sequences", "20")
    assert share.status == 0, share.err
    made = sorted(Path("x.0-of-2.partial/shards").glob("*.json"))
    asked: list[Path] = []
    monkeypatch.setattr(driver, "read", lambda path: asked.append(path) or read(path))
    known = driver.FinishedShards(OutputSpec(Path("x")), [Task(0, 2), Task(1, 2)])
    counts = [manifest.progress for manifest in map(read, made)]
    for _ in range(2):
        assert known.counted() == (sum(shard.read for shard in counts), sum(shard.tokens for shard in counts))
    assert len(made) > 1 and asked == made


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of Ray for one run after the other: its workers stay, so that they import torch once."""
    with connected_to_ray():
        yield


@pytest.fixture
def quickly(
    engine: tuple[str, ...], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    """An engine whose workers begin where their imports are done."""
    if engine == RAY:
        request.getfixturevalue("cluster")
    fork = SimpleNamespace(Popen=ForkedChild, PIPE=None, STDOUT=None)
    monkeypatch.setattr(children, "subprocess", fork)
    return engine


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_run_of_one_process(
    command: str, quickly: tuple[str, ...], single: Single, actkit: Run
) -> None:
    if command == "steer":
        Path("found").symlink_to(single("concept"))
    made = actkit(*COMMANDS[command], *SMALL, "-o", "x", *quickly)
    assert (made.status, made.out) == (0, "x\n"), made.err
    assert len(json.loads(Path("x/run.json").read_text())["sessions"]) == 3, "two workers, and who merged"
    check_same(single(command), "x")


@pytest.mark.slow
def test_tasks_of_an_array_that_have_workers_of_their_own(
    single: Single, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on nodes that are given whole, with all of their GPUs; one task alone makes the whole run."""
    monkeypatch.setattr(children, "subprocess", SimpleNamespace(Popen=ForkedChild, PIPE=None, STDOUT=None))
    line = (*COMMANDS["capture"], *SMALL, "--workers", "2", "--shard", "auto", "--resume", "-o")
    for number in (1, 0):
        as_slurm_says(number, 2, monkeypatch)
        for more in (("--export", "pt"), ("--report",)):
            assert "actkit merge" in actkit(*line, "x", *more).err
        made = actkit(*line, "x")
        assert (made.status, made.out) == (0, f"x.{2 * number}-of-4.partial\n"), made.err
    assert actkit("merge", "x", "-q").out == "x\n"
    check_same(single("capture"), "x")
    as_slurm_says(0, 1, monkeypatch)
    assert actkit(*line, "y").out == "y\n"
    check_same(single("capture"), "y")
    assert actkit("merge", "y", "--export", "pt", "-q").out == "y\n" and Path("y.pt").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_run_goes_on_and_a_killed_worker_is_begun_again(
    engine: tuple[str, ...], actkit: Run, tmp_path: Path
) -> None:
    arguments = (*COMMANDS["feature-dataset"], "--shard-sequences", "3", "-q")
    assert actkit(*arguments, "-o", "single").status == 0
    process = start((*arguments, "-o", "x", *engine), tmp_path)
    worker = psutil.Process(owner_of("x.0-of-2.partial", process, 1))
    worker.suspend()  # a share lasts no longer than a busy machine may take for what follows
    process.send_signal(signal.SIGINT)
    worker.resume()
    status, _, err = ended(process)
    assert status == 130 and "finished shard" in err and " ".join(engine) in err, err
    assert not worker.is_running()
    process = start(line_in(err), tmp_path)
    shares = [Path(f"x.{n}-of-2.partial") for n in (0, 1)]
    left = next(share for share in shares if not (share / TASK_FILE).exists())
    os.kill(owner_of(str(left), process, 1), signal.SIGKILL)
    status, out, err = ended(process)
    assert (status, out) == (0, "x\n"), err
    assert len(json.loads(Path("x/run.json").read_text())["sessions"]) >= 4
    check_same("single", "x")


def dying(own: CaptureSpec, common: DenseSpec, on_progress: OnProgress) -> Finished:
    """A command that ends its process after a shard, as a record might that makes a library crash."""

    def watch(progress: Progress) -> None:
        has_shard = finished_shards(common.output.out)
        if common.output.task is not None and common.output.task.number == 1 and progress.computed >= 40 and has_shard:
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
