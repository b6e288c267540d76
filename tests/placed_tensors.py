"""CUDA devices that are none: tensors in the host's memory that say they are on `cuda:N`, and mix with no other's.

`torch._subclasses.FakeTensorMode` makes such tensors without any numbers, so that nothing that looks at one (which
features are active, whether all are finite) can be run under it. These have numbers. What is shown with them is
where each tensor lives, that no operation mixes devices, and that nothing is handed to numpy from a device. What is
not: CUDA's kernels, streams, memory and results.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

HOST = torch.device("cpu")


class PlacedTensor(torch.Tensor):
    """A tensor that says it is on a CUDA device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> "PlacedTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=device,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"{self.held!r} on {self.device}"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            return _at(func, *args)
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            to = ("cpu",) if func is torch.Tensor.cpu else args[1:]
            return _moved(args[0], *to, **(kwargs or {}))
        if func is torch.Tensor.copy_:  # from any device to any
            _held(args[0]).copy_(_held(args[1]))
            return args[0]
        if func in (torch.Tensor.data_ptr, torch.Tensor.tolist):
            # Accelerate tells by the first which weights are one; the second may be asked of any device's tensor.
            return func(_held(args[0]))
        with torch._C.DisableTorchFunctionSubclass():
            try:
                return func(*args, **(kwargs or {}))
            except RuntimeError as error:
                if "not linked with support for cuda" not in str(error):
                    raise
            return dispatched(func, args, kwargs or {})  # a method that would have gone to the device first

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


def _at(func: Any, tensor: torch.Tensor, index: Any, *value: Any) -> Any:
    """`tensor[index]`, whose indices may be on the host; torch would have CUDA bring them to the device."""
    places = {leaf.device for leaf in tree_flatten((tensor, index, value))[0] if isinstance(leaf, torch.Tensor)}
    if len({place for place in places if place.type != "cpu"}) > 1 or (tensor.device.type == "cpu" and len(places) > 1):
        raise RuntimeError(f"index: tensors on {', '.join(sorted(map(str, places)))}")
    found = func(*tree_map(_held, (tensor, index, *value)))
    return found if found is None or tensor.device.type == "cpu" else PlacedTensor(found, tensor.device)


def _moved(tensor: torch.Tensor, *to: Any, **more: Any) -> torch.Tensor:
    if to and isinstance(to[0], torch.Tensor):
        to = (to[0].device, to[0].dtype)
    to = tuple(
        torch.device("cuda", argument) if type(argument) is int else argument for argument in to
    )  # accelerate names devices so
    more = {name: indexed(value) if name == "device" and value is not None else value for name, value in more.items()}
    device, dtype, *_ = torch._C._nn._parse_to(*to, **{name: value for name, value in more.items() if name != "copy"})
    place = tensor.device if device is None else indexed(device)
    if place == tensor.device and dtype in (None, tensor.dtype) and not more.get("copy"):
        return tensor
    if place.type == "meta":
        return torch.empty_like(_held(tensor), dtype=dtype or tensor.dtype, device=place)
    held = _held(tensor).to(dtype or tensor.dtype, copy=place != tensor.device)
    return PlacedTensor(held, place) if place.type == "cuda" else held


def _held(given: Any) -> Any:
    return given.held if isinstance(given, PlacedTensor) else given


def indexed(device: Any) -> torch.device:
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default}
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation in the host's memory, and say of its result where it is."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in flat if isinstance(leaf, torch.Tensor)]
    asked = kwargs.get("device")
    places = {tensor.device for tensor in tensors if isinstance(tensor, PlacedTensor) or tensor.dim() > 0}
    indexing = func in (
        torch.ops.aten.index.Tensor,
        torch.ops.aten.index_put_.default,
        torch.ops.aten.index_put.default,
    )
    if indexing:  # indices may be on the host
        places = {args[0].device} | {tensor.device for tensor in tensors[1:] if tensor.device.type != "cpu"}
    if func not in MOVES and len(places) > 1:
        raise RuntimeError(f"{func}: tensors on {', '.join(sorted(map(str, places)))}")
    place = (
        indexed(asked)
        if asked is not None
        else next((tensor.device for tensor in tensors if isinstance(tensor, PlacedTensor)), HOST)
    )
    if func is torch.ops.aten.copy_.default:
        place = args[0].device

    def plain(given: Any) -> Any:
        if isinstance(given, PlacedTensor):
            return given.held
        return HOST if isinstance(given, torch.device) and given.type == "cuda" else given

    kept = {name: kwarg for name, kwarg in kwargs.items() if name not in ("pin_memory", "non_blocking")}
    found = func(*tree_map(plain, args), **tree_map(plain, kept))
    if "empty" in func.__name__ and isinstance(found, torch.Tensor) and not found.is_meta:
        found.zero_()  # else a buffer that a library leaves unwritten here is another number each time
    by_held = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, PlacedTensor)}

    def placed(given: Any) -> Any:
        if not isinstance(given, torch.Tensor) or place.type != "cuda":
            return given
        known = by_held.get(id(given))  # what an operation changed in place is the tensor that it was
        return PlacedTensor(given, place) if known is None else known

    return tree_map(placed, found)


class Placing(TorchDispatchMode):
    """Makes tensors that are asked for on CUDA."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class Calling(TorchFunctionMode):
    """Has calls on tensors of the host, such as `.to("cuda")`, go the same way."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to or func is torch.Tensor.copy_:
            return PlacedTensor.__torch_function__(func, types, args, kwargs)
        options = dict(kwargs or {})
        if func is torch.device and type(args[0]) is int:
            return indexed(args[0])
        if type(options.get("device")) is int:
            options["device"] = indexed(options["device"])
        if func is torch.tensor and options.get("device") is not None:  # which copies from Python's numbers
            return _moved(func(*args, **{**options, "device": HOST}), options["device"])
        return func(*args, **options)


class Nothing:
    """A stream or an event of a device on which all is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record_event(self) -> "Nothing":
        return self

    def wait_event(self, _: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def cuda_devices(monkeypatch: pytest.MonkeyPatch, count: int = 2) -> Iterator[None]:
    """Inside, there are so many CUDA devices, in every thread that begins there."""
    with monkeypatch.context() as inside:
        _pretend(inside, count)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with torch.no_grad(), Placing(), Calling():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)


def _pretend(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    cuda = torch.cuda
    for name, value in {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: count,
        "current_device": lambda: 0,
        "is_bf16_supported": lambda *_, **__: False,
        "get_device_capability": lambda *_: (8, 0),
        "mem_get_info": lambda *_: (8 << 30, 8 << 30),
        "empty_cache": lambda: None,
        "synchronize": lambda *_: None,
        "Stream": Nothing,
        "stream": lambda _: _,
        "current_stream": Nothing,
        "memory_reserved": lambda *_: 0,
        "memory_allocated": lambda *_: 0,
        "max_memory_allocated": lambda *_: 0,
    }.items():
        monkeypatch.setattr(cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *_: self)
    real_empty, real_run = torch.empty, threading.Thread.run
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **more: real_empty(*a, **more))

    def run(self: threading.Thread) -> None:
        with torch.no_grad(), Placing(), Calling():
            real_run(self)

    monkeypatch.setattr(threading.Thread, "run", run)
