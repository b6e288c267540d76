"""Memory that runs out: recognised whatever the device calls it, and freed before the next try."""

import gc

import torch

SAYS_SO = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""What a RuntimeError of a CPU, of MPS or of cuBLAS says where torch raises no error of its own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(one in str(error).lower() for one in SAYS_SO)


def free() -> None:
    """Give back what nothing uses any more; to be called when the error, which holds on to tensors, is gone."""
    gc.collect(1)  # what is left of the error is young; a full collection takes half a second
    if torch.cuda.is_available():  # does nothing where CUDA has not been used
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
