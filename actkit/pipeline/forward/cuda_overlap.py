"""`OverlappedWorker` makes the rows of one batch while a CUDA device computes the next.

Its own thread, with its own stream, reads, encodes and copies the kept activations of a batch. It stops neither the
thread that feeds the device nor the forward pass that runs on it. On a CPU both would compete for the same cores, so
there rows are made at once.
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
        """Start `work`. The caller keeps the inputs of the work until it is done; then its results are complete."""
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
            # The other stream reuses memory that was read here as soon as nothing refers to it.
            stream.synchronize()
