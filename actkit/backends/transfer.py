"""Copies between the host and a CUDA device that neither waits for: from and to page-locked memory.

A copy from ordinary memory stops the host until the device has done all that it was told before; one from page-locked
memory is put in line behind it, and the host goes on to tell it more.
"""

import torch


def to_device(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """`tensor` on `device`, without waiting for what the device does."""
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` on the host, complete: of a CUDA device, only the current stream is waited for."""
    if not tensor.is_cuda:
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host
