"""Tensors of a model: read weights, offloaded ones too, digest them, and move tensors between host and device."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

ENDS = 1 << 16
"""Bytes of each end of a tensor that are hashed."""


def of_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the name, shape and dtype of each tensor and the bytes of its first and last 64 KiB.

    Reading all of a large model would take minutes. Another checkpoint, a fine-tune or a merge changes every tensor, so
    the digest differs; a single number changed in the middle of a tensor leaves the digest as it is.
    """
    sha = hashlib.sha256()
    for name in sorted(tensors):
        flat = tensors[name].detach().reshape(-1)
        sha.update(f"{name} {tuple(tensors[name].shape)} {flat.dtype}\n".encode())
        most = max(ENDS // max(flat.element_size(), 1), 1)
        for end in (flat[:most], flat[-most:]):
            sha.update(end.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def unembedding(module: Any) -> torch.Tensor | None:
    """The unembedding [vocabulary, d_model]; None where there is none, or it is quantized or offloaded."""
    get = getattr(module, "get_output_embeddings", None)
    layer = get() if get is not None else None
    weight = getattr(layer, "weight", None)
    whole = isinstance(weight, torch.Tensor) and weight.is_floating_point() and not weight.is_meta
    return weight.detach() if whole and weight.ndim == 2 else None  # type: ignore[union-attr]


class Weights(Mapping[str, torch.Tensor]):
    """A module's `state_dict` in which offloaded tensors, which are not in memory, are read on access."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._held: Mapping[str, torch.Tensor] = module.state_dict()
        self._offloaded: dict[str, tuple[Mapping[str, torch.Tensor], str]] = {}
        for path, inner in module.named_modules():
            elsewhere = getattr(getattr(inner, "_hf_hook", None), "weights_map", None)
            if elsewhere is not None:
                self._offloaded |= {
                    f"{path}.{name}" if path else name: (elsewhere, name) for name in inner.state_dict(prefix="")
                }

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._held[name]
        if not tensor.is_meta or name not in self._offloaded:
            return tensor
        elsewhere, short = self._offloaded[name]
        return elsewhere[short].to(tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def to_device(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Copy `tensor` to `device`, without waiting for the device."""
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Copy `tensor` to the host, and wait until it is complete; on CUDA for the current stream alone."""
    if not tensor.is_cuda:
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host
