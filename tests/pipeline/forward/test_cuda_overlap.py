"""Rows made of one batch while the device computes the next: the same rows, whatever fails and wherever."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pandas as pd
import pytest
import torch

from actkit.backends import tensors as transfer
from actkit.errors import NonFiniteError
from actkit.pipeline import compute, extract
from actkit.pipeline.data import Kept
from actkit.pipeline.forward import cuda_overlap as beside
from tests.pipeline.forward.test_out_of_memory import LENGTHS, check_same_rows, model, run


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, but that the CPU is the device."""
    monkeypatch.setattr(compute, "has_own_time", lambda _device: True)
    monkeypatch.setattr(extract, "has_own_time", lambda _device: True)


def reducing(monkeypatch: pytest.MonkeyPatch, instead: Callable[[int, Callable[[], Any]], Any]) -> list[Any]:
    """Have the n-th time that a batch is made into rows done by `instead`; returns the threads that did it."""
    threads: list[Any] = []
    plainly = compute.Computing._table

    def table(self: compute.Computing, name: str, kept: Kept) -> Any:
        if name == "activations":
            threads.append(current_thread())
            return instead(len(threads), lambda: plainly(self, name, kept))
        return plainly(self, name, kept)

    monkeypatch.setattr(compute.Computing, "_table", table)
    return threads


def test_only_cuda_computes_beside_the_host() -> None:
    assert [beside.has_own_time(device) for device in ("cpu", "cuda", "cuda:1", "mps")] == [False, True, True, False]


def test_rows_are_the_same_and_made_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    at_once = run(model(), tmp_path / "at-once", LENGTHS)
    request.getfixturevalue("side_by_side")
    threads = reducing(monkeypatch, lambda _n, rows: rows())
    finished = run(model(), tmp_path / "beside", LENGTHS)
    assert threads and main_thread() not in threads
    for table in ("activations", "features", "tokens", "sequences"):
        pd.testing.assert_frame_equal(pd.read_parquet(at_once.path / table), pd.read_parquet(finished.path / table))
    assert finished.facts["counts"] == at_once.facts["counts"] and finished.facts["health"] == at_once.facts["health"]
    waited = {"wait_for_rows", "wait_for_shard"}
    assert waited <= finished.facts["seconds"].keys() and not waited & at_once.facts["seconds"].keys()


def test_the_next_batch_runs_before_the_rows_of_the_last_are_there(
    side_by_side: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch's rows wait for the second forward pass, which one after the other would never come."""
    limited = model()

    def wait(n: int, rows: Callable[[], Any]) -> Any:
        for _ in range(1000):
            if n > 1 or limited.asked >= 2:
                return rows()
            time.sleep(0.01)
        raise AssertionError("the second batch never ran")

    reducing(monkeypatch, wait)
    assert run(limited, tmp_path / "run", LENGTHS).facts["counts"]["written"] == len(LENGTHS)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["forward", "reduce"])
def test_out_of_memory_at_any_batch_changes_no_row(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """What is given up first is two batches at a time, so that no batch is made smaller."""
    whole = run(first := model(), tmp_path / "whole", LENGTHS)
    request.getfixturevalue("side_by_side")
    for at in range(1, first.asked + 1):
        limited = model(fails_at=at if where == "forward" else -1)
        with monkeypatch.context() as patch:
            if where == "reduce":
                reducing(patch, _fails_at(at))
            finished = run(limited, tmp_path / f"at-{at}", LENGTHS)
        check_same_rows(whole.path, finished.path)
        assert finished.facts["counts"] == whole.facts["counts"] and not finished.facts["notes"]
        assert finished.facts["batch_tokens_used"] == 64
        ours, theirs = finished.facts["health"][0], whole.facts["health"][0]
        assert ours["n_tokens"] == theirs["n_tokens"] == ours["n_decoded"]
        close = {key: pytest.approx(value, rel=1e-5) for key, value in theirs.items() if isinstance(value, float)}
        assert ours == {**theirs, **close}


def _fails_at(at: int) -> Callable[[int, Callable[[], Any]], Any]:
    def instead(n: int, rows: Callable[[], Any]) -> Any:
        made = rows()
        if n == at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made

    return instead


def test_what_does_not_fit_alone_is_rejected_here_too(side_by_side: None, tmp_path: Path) -> None:
    finished = run(model(most=18), tmp_path / "run", LENGTHS)
    rejected = pd.read_parquet(finished.path / "rejected")
    assert rejected["record_id"].tolist() == [number for number, length in enumerate(LENGTHS) if length > 18]


def test_an_error_in_the_other_thread_is_the_runs(
    side_by_side: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(n: int, rows: Callable[[], Any]) -> Any:
        rows()
        raise NonFiniteError("the model computed nan", "", 0)

    reducing(monkeypatch, fail)
    with pytest.raises(NonFiniteError, match="computed nan"):
        run(model(), tmp_path / "run", LENGTHS)


class Recorded:
    """A CUDA stream and event that only note what is asked of them."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def record_event(self) -> "Recorded":
        self.notes.append("record")
        return self

    def wait_event(self, event: "Recorded") -> None:
        self.notes.append("wait")

    def synchronize(self) -> None:
        self.notes.append("synchronize")


@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_waits_for_what_was_told_before_and_is_done_when_the_work_is(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    @contextmanager
    def on(stream: Recorded) -> Iterator[None]:
        notes.append("enter")
        yield
        notes.append("leave")

    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: Recorded(notes))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: Recorded(notes))
    monkeypatch.setattr(torch.cuda, "stream", on)

    def work() -> int:
        notes.append("work")
        if fails:
            raise ValueError("no")
        return 3

    with beside.OverlappedWorker("cuda") as worker:
        future = worker.submit(work)
        if fails:
            with pytest.raises(ValueError, match="no"):
                future.result()
        else:
            assert future.result() == 3
    assert notes[:5] == ["record", "enter", "wait", "work", "synchronize"]


def test_copies_on_a_cpu_are_the_tensor_itself() -> None:
    tensor = torch.arange(3)
    assert transfer.to_device(tensor, "cpu") is tensor and transfer.to_host(tensor) is tensor
    assert transfer.to_device(tensor, "meta").is_meta
