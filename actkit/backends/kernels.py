"""Use faster CPU kernels for models and SAEs; numbers differ by rounding alone.

1. Matrix products in float32 go through oneDNN where that is faster than MKL, which torch uses: 1.1 to 2 times as fast
   on AMD processors with AVX-512, not on Intel's. `kernel_choice` measures it once per machine.
2. GPT-2's GELU is one kernel instead of eight passes over memory: 23 ms, not 108, for 4,096 tokens of GPT-2 small.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from actkit.backends.kernel_choice import choice

GELU_BY_PARTS = ("NewGELUActivation", "FastGELUActivation")
"""Hugging Face modules that compute GELU's tanh form step by step."""


@contextmanager
def fast_products() -> Iterator[None]:
    """Inside, float32 products with a matrix on the CPU go through oneDNN if that is faster; else nothing changes."""
    if not choice().onednn:
        yield
        return
    with _OneDnn():
        yield


@contextmanager
def fast_modules(module: torch.nn.Module) -> Iterator[None]:
    """Inside, a model's GELU of several steps runs as one kernel, on the CPU in float32 and bfloat16.

    In bfloat16 this rounds once instead of eight times, and is closer to the exact value.
    """
    with ExitStack() as replaced:
        for inner in module.modules():
            if type(inner).__name__ in GELU_BY_PARTS and "forward" not in vars(inner):  # else other code replaced it
                replaced.callback(delattr, inner, "forward")
                inner.forward = functools.partial(_gelu, inner.forward)
        yield


def _gelu(by_parts: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return by_parts(x)
    return torch.nn.functional.gelu(x, approximate="tanh")


class _OneDnn(TorchFunctionMode):
    """Computes products of rows with a matrix through oneDNN; other functions run as usual."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if not kwargs and func in _PRODUCTS:
            x, weight, bias = _PRODUCTS[func](*args)
            if _fits(x, weight, bias):
                flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).contiguous()
                rows = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
                return rows.reshape(*x.shape[:-1], len(weight))
        return func(*args, **(kwargs or {}))


def _matmul(x: Any, matrix: Any) -> tuple[Any, Any, Any]:
    return x, matrix.T if isinstance(matrix, torch.Tensor) and matrix.ndim == 2 else None, None


_PRODUCTS: Mapping[Any, Callable[..., tuple[Any, Any, Any]]] = {
    torch.nn.functional.linear: lambda x, weight, bias=None: (x, weight, bias),
    torch.addmm: lambda bias, x, matrix: (x, matrix.T, bias),
    torch.matmul: _matmul,
    torch.mm: _matmul,
    torch.Tensor.matmul: _matmul,
    torch.Tensor.__matmul__: _matmul,
    torch.Tensor.mm: _matmul,
}
"""Function → its arguments as rows [..., k], a weight [m, k] and a bias [m] or None."""


def _fits(x: Any, weight: Any, bias: Any) -> bool:
    """Whether these are arguments of a plain product in float32 on the CPU that needs no gradient."""
    tensors = (x, weight) if bias is None else (x, weight, bias)
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_mkldnn:
            return False
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32 or not tensor.numel():
            return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    if x.ndim < 2 or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or (bias is not None and bias.ndim != 1):
        return False
    return bool(weight.is_contiguous() or weight.T.is_contiguous())
