"""Read and tokenize the next shards while this one is computed: for devices that compute in parallel with the host.

A thread gathers shards: at most one waits in a queue while the thread gathers another. A shard's counts are added to
the run's progress together with the shard, so that a manifest never counts records that are in no finished shard.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from queue import Empty, Full, Queue
from threading import Event, Thread

from actkit.pipeline.shards.shard import Shard
from actkit.runs.progress import Progress

Step = tuple[Shard | None, Progress, BaseException | None]
"""A shard, or None at the end; the counts up to its end; the error that ended the input early."""
PATIENCE = 0.2
"""Seconds between checks that the other thread still runs."""


def ahead(gather: Callable[[Progress], Iterator[Shard]], progress: Progress) -> Iterator[Shard]:
    """Yield the shards of `gather(progress)`; a thread gathers the next ones meanwhile.

    Raises the errors of `gather` where it would raise them. Closing the iterator ends the thread as soon as its present
    read returns. A read from a pipe into which nobody writes never does, but does not keep the process alive.
    """
    steps: Queue[Step] = Queue(maxsize=1)
    ended = Event()
    thread = Thread(target=_gather, args=(gather, deepcopy(progress), steps, ended), name="read", daemon=True)
    thread.start()
    before = deepcopy(progress)
    try:
        while True:
            with progress.timed("wait_for_shard"):
                shard, counted, error = _next(steps, thread)
            progress.add(counted, before)
            before = counted
            if error is not None:
                raise error
            if shard is None:
                return
            yield shard
    finally:
        ended.set()


def _next(steps: "Queue[Step]", thread: Thread) -> Step:
    while True:
        try:
            return steps.get(timeout=PATIENCE)  # in pieces, so that an interruption is noticed
        except Empty:
            if not thread.is_alive() and steps.empty():
                raise RuntimeError("the thread that reads has ended without a word") from None


def _gather(
    gather: Callable[[Progress], Iterator[Shard]], progress: Progress, steps: "Queue[Step]", ended: Event
) -> None:
    try:
        with closing(gather(progress)) as shards:  # type: ignore[type-var]
            for shard in shards:
                if not _put(steps, (shard, deepcopy(progress), None), ended):
                    return
        _put(steps, (None, deepcopy(progress), None), ended)
    except BaseException as error:
        _put(steps, (None, deepcopy(progress), error), ended)


def _put(steps: "Queue[Step]", step: Step, ended: Event) -> bool:
    """Put a step into the queue; False once the iterator is closed."""
    while not ended.is_set():
        try:
            steps.put(step, timeout=PATIENCE)
        except Full:
            continue
        return True
    return False
