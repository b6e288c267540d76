"""Processes that `--shard auto` starts: each has GPUs of its own, answers, and is told apart where it dies."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from actkit.cli.options.engine import place_on_this_machine
from actkit.config import ModelSpec, OutputSpec
from actkit.engines import children, driver
from actkit.engines.children import _children, rooms, take_gpu, visible_gpus
from actkit.engines.driver import Pool
from actkit.engines.work import DiedError, Work
from actkit.errors import InputError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from tests.engines.looking import HANGS, look


def wait_for(pool: Pool, count: int) -> list[int]:
    done: list[int] = []
    deadline = time.monotonic() + HANGS
    while len(done) < count and time.monotonic() < deadline:
        done += pool.ended(0.5)
    return done


def test_a_process_has_its_room_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pickle.py").write_text("raise SystemExit('a file of the user')")
    with _children([{children.VISIBLE: "4"}, {children.VISIBLE: "6,7"}]) as pool:
        begun = {
            name: pool.begin(Work(look, name, None, str(tmp_path))) for name in ("well", "error", "killed", "fault")
        }
        assert sorted(wait_for(pool, 4)) == sorted(begun.values())
        assert pool.result(begun["well"]) is None
        error = pool.result(begun["error"])
        assert isinstance(error, InputError) and (error.message, error.hint) == ("in.jsonl:4: not JSON", "mend it")
        with pytest.raises(DiedError, match="SIGKILL, as where memory runs out: a library says something"):
            pool.result(begun["killed"])
        with pytest.raises(KeyError, match="nobody foresaw this") as raised:
            pool.result(begun["fault"])
        assert "in look" in raised.value.__notes__[0]
        seen = [Path(f"seen-{name}").read_text() for name in begun]
        assert all(str(tmp_path) in text for text in seen)
        assert "'4'" in seen[0] and "'6,7'" in seen[1] and os.environ.get(children.VISIBLE) is None
        others = set(psutil.Process().children())  # a test before this may have left one
        pool.begin(Work(look, "hangs", None, str(tmp_path)))
        pool.begin(Work(look, "hangs", None, str(tmp_path)))
        waits = pool.begin(Work(look, "waits", None, str(tmp_path)))
        assert list(pool.ended(0)) == [] and waits
        alive = set(psutil.Process().children()) - others
        pool.stop()
    assert len(alive) == 2 and not any(child.is_running() for child in alive) and not Path("seen-waits").exists()


PARENT = """
import sys, time
sys.path[:] = {path!r}
from actkit.engines.children import _children
from actkit.engines.work import Work
from tests.engines.looking import look
with _children([{{}}]) as pool:
    pool.begin(Work(look, "hangs", None, {folder!r}))
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    text = PARENT.format(path=sys.path, folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "begun\n"
    deadline = time.monotonic() + HANGS
    while not (tmp_path / "seen-hangs").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    child.wait(HANGS)
    assert not child.is_running()


def test_gpus_are_divided_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    every = ["0", "1", "2", "3", "4", "5", "6", "7"]
    for gpus, workers, expected in (
        (every, None, every),
        (every, 4, ["0,1", "2,3", "4,5", "6,7"]),
        (every, 3, ["0,1", "2,3", "4,5"]),
        (["GPU-a", "GPU-b"], 3, ["GPU-a", "GPU-b", "GPU-a"]),
    ):
        assert rooms(gpus, workers) == [{children.VISIBLE: own} for own in expected]
    assert rooms([], 2) == [{}, {}]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for named, expected in ((None, ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-x, MIG-y,-1,2", ["GPU-x", "MIG-y"])):
        if named is not None:
            monkeypatch.setenv(children.VISIBLE, named)
        assert visible_gpus() == expected


def test_who_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU needs no second process; what was divided before stays so; a machine without any is told what to say."""
    asked: list[object] = []
    monkeypatch.setattr(children, "run_shared", lambda pool_of, *_: asked.append(pool_of.args[0]))
    gpus: list[str] = []
    monkeypatch.setattr(children, "visible_gpus", lambda: gpus)

    def run(workers: int | None = None, device: str = "auto") -> object:
        common = DenseSpec(ModelSpec(device=device), OutputSpec(tmp_path / "x"), "1")
        return children.run_on_children(lambda *_: "alone", workers, CaptureSpec(path="in.jsonl"), common)  # type: ignore[arg-type, return-value]

    with pytest.raises(UsageError, match=r"no GPU .*\nhint: shard auto workers 4"):
        run()
    gpus[:] = ["2"]
    assert run() == "alone" and not asked
    (tmp_path / "x.1-of-3.partial").mkdir()
    run()
    run(2, "cpu")
    gpus[:] = ["2", "3"]
    run()
    assert asked == [[{children.VISIBLE: "2"}], [{}, {}], [{children.VISIBLE: "2"}, {children.VISIBLE: "3"}]]
    with pytest.raises(UsageError, match="cuda:1 names one"):
        run(device="cuda:1")


def test_one_of_several_processes_that_a_scheduler_started_here_takes_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each sees all of the machine's, and would take the first."""
    monkeypatch.setattr(children, "visible_gpus", lambda: ["2", "3"])
    for name in ("SLURM_ARRAY_TASK_ID", "OMPI_COMM_WORLD_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("PROCID", 5), ("NTASKS", 8), ("LOCALID", 1)):
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert [place_on_this_machine(shard) for shard in ("auto", "1/2", None)] == [1, None, None]
    monkeypatch.setenv(children.VISIBLE, "2,3")
    for place, device, seen in ((1, "cuda:0", "2,3"), (5, "auto", "3"), (0, "cuda", "2")):
        monkeypatch.setenv(children.VISIBLE, "2,3")
        take_gpu(place, device)
        assert os.environ[children.VISIBLE] == seen
    for name, value in (("ID", 5), ("COUNT", 8), ("MIN", 0)):  # a task of an array is alone on what it is given
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert place_on_this_machine("auto") is None


@pytest.mark.slow
def test_the_shares_that_a_run_began_with_go_through_fewer_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("\n".join(f"Text {n} of a few" for n in range(20)))
    own, most = CaptureSpec(path="in.txt"), []
    real = children._Children._fill

    def fill(self: children._Children) -> None:
        real(self)
        most.append(len(self.running))

    monkeypatch.setattr(children._Children, "_fill", fill)

    def asked(out: str, **more: object) -> DenseSpec:
        from actkit.config import BatchSpec

        output = OutputSpec(Path(out), **more)  # type: ignore[arg-type]
        return DenseSpec(ModelSpec(device="cpu"), output, "1", batch=BatchSpec(shard_sequences=3))

    from actkit.config import Task

    run_capture(own, asked("single"))
    run_capture(own, asked("x.1-of-3", task=Task(1, 3)))
    finished: Finished = children.run_on_children(run_capture, 1, own, asked("x", resume=True))
    assert max(most) == 1 and finished.path == Path("x")
    found = [{p.name: p.read_bytes() for p in Path(run).rglob("*.parquet")} for run in ("single", "x")]
    assert found[0] == found[1] and driver.DEATHS == 3
