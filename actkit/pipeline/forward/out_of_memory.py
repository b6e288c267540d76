"""Recognise the out-of-memory errors of every device, and free memory before the next try."""

import ctypes
import functools
import gc
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
import torch

SAYS_SO = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""Messages of the RuntimeErrors by which a CPU, MPS and cuBLAS report that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in SAYS_SO)


def free() -> None:
    """Free unused memory. Call it after the error is deleted, since the error holds tensors."""
    gc.collect(1)  # the error's objects are young; a full collection takes half a second
    if torch.cuda.is_available():  # does nothing where CUDA has not been used
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def trim() -> None:
    """Give freed memory back to the system: of many small pieces, glibc and Arrow keep much for themselves.

    It takes some 10 ms, which is little between two shards. Without it memory grows from shard to shard.
    """
    pa.default_memory_pool().release_unused()
    _malloc_trim()(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int]:
    with suppress(OSError, AttributeError):  # no glibc
        found: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
        return found
    return lambda _pad: 0
