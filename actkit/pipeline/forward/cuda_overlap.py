"""`OverlappedWorker` makes the rows of one batch while a CUDA device computes the next.

A thread of its own, with a stream of its own, reads, encodes and copies what a batch kept. It stops neither the thread
that feeds the device nor the forward pass that runs on it. On a CPU both would want the same cores, so rows are made at
once.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def has_own_time(device: str) -> bool:
    """Whether the host can work while `device` computes."""
    return torch.device(device).type == "cuda"


class OverlappedWorker:
    """Context manager: a thread (on CUDA also a stream) that makes rows while the device computes the next batch."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reduce")
        self._stream = torch.cuda.Stream(device) if has_own_time(device) else None  # type: ignore[no-untyped-call]

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Start `work`. The caller keeps its inputs until it is done; then its results are complete."""
        if self._stream is None:
            return self._worker.submit(work)
        told = torch.cuda.current_stream(self._device).record_event()
        return self._worker.submit(_on, self._stream, told, work)

    def __enter__(self) -> "OverlappedWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown()


def _on(stream: torch.cuda.Stream, told: torch.cuda.Event, work: Callable[[], T]) -> T:
    with torch.cuda.stream(stream):
        stream.wait_event(told)
        try:
            return work()
        finally:
            # Memory of the other stream that was read here is used again as soon as nothing refers to it.
            stream.synchronize()
