"""Choose the kernels for float32 products on this machine: torch's own, or oneDNN's if these were measured as faster.

The choice depends on the machine alone, so that a run can be repeated to the byte. The user's cache keeps the first
measurement, and later runs use it. Where the cache cannot be written, nothing is measured.
"""

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FASTER = 1.05
"""oneDNN must be at least so many times as fast; a busy machine alone makes smaller differences."""
FASTER_IN_BFLOAT16 = 1.1
"""Products in bfloat16 must be so many times as fast where their results are then computed again in float32."""
FINE = 1e-5
"""Coarsest resolution of a clock, in seconds: a product takes some hundred times as long."""
LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "ATEN_CPU_CAPABILITY")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actkit" / "kernels"


@dataclass(frozen=True)
class Choice:
    """The choice of kernels, and the reason."""

    onednn: bool
    why: str

    def __str__(self) -> str:
        return f"{'oneDNN' if self.onednn else 'torch'} ({self.why})"


@functools.cache
def choice() -> Choice:
    """Choose the kernels for float32 products, by processor, torch and number of threads.

    Processes that measure at the same time all use the measurement that was stored first, since kernels differ in the
    last digits. Where nothing can be stored, the choice is always torch's.
    """
    onednn, mkl = torch.backends.mkldnn, torch.backends.mkl
    both = onednn.is_available() and mkl.is_available()  # type: ignore[no-untyped-call]
    if not both or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return Choice(False, "there are no others")
    times = _measured_once(_asked(), _onednn_speed)
    if times is None:
        return Choice(False, f"{_CACHE} cannot be written, so that nothing is measured")
    return Choice(times >= FASTER, f"oneDNN was measured to be {times:.2f} times as fast")


@functools.cache
def bfloat16_speed() -> float | None:
    """The speed of products in bfloat16 on this processor, as a multiple of the speed of the chosen float32 kernels.

    It is measured once per machine; None where it cannot be measured or stored.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return _measured_once(f"{_asked()}, bfloat16", _bfloat16_speed)


def about_bfloat16(worth: float) -> str | None:
    """A sentence on the gain and cost of `--dtype bfloat16` here; None where it is not `worth` times as fast.

    Source of the cost: `python -m tests.benchmarks.bfloat16`, GPT-2 small with an SAE 16k wide.
    """
    times = bfloat16_speed()
    if times is None or times < worth:
        return None
    return (
        f"--dtype bfloat16 multiplies matrices {times:.1f} times as fast on this processor (attention is no faster); "
        "of top-50 sets of features it keeps about half whole, and 99 % of their members"
    )


def _asked() -> str:
    return f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads, by {_clock()[0]}"


def _measured_once(asked: str, speed: Callable[[], float]) -> float | None:
    """The speed that the first call on this machine measured; None where it cannot be stored."""
    path = _CACHE / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    times = _kept(path)
    if times is None:
        with suppress(OSError):
            _measure(path, asked, speed)
        times = _kept(path)
    return times


def _kept(path: Path) -> float | None:
    """Read a stored speed; None where the file cannot be read."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8"))["times_as_fast"])
    return None


def _measure(path: Path, asked: str, speed: Callable[[], float]) -> None:
    """Measure the speed and store it, unless another process did so meanwhile. Raises OSError where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    is_damaged = path.exists()
    own.touch()  # fails before the measurement if it cannot be stored
    try:
        about = {"times_as_fast": speed(), "asked": asked}
        own.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        if is_damaged:
            own.replace(path)
        else:
            with suppress(FileExistsError):
                os.link(own, path)  # whole, and only the first
    finally:
        own.unlink(missing_ok=True)


def _processor() -> str:
    """The processor's name, and the limits on instructions that environment variables set for libraries."""
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        lines = []
    about = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "stepping"))][:2]
    return " ".join([*about, platform.machine(), torch.backends.cpu.get_cpu_capability(), *limits])


def _onednn_speed() -> float:
    """Measure oneDNN's speed as a multiple of torch's, for the product of a batch with an MLP's matrix."""
    x, weight = torch.ones(512, 768), torch.ones(1536, 768)
    return _ratio(
        lambda: torch.nn.functional.linear(x, weight),
        lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""),
    )


def _bfloat16_speed() -> float:
    """Measure the speed of products in bfloat16, as a multiple of the speed of the chosen float32 kernels.

    The products are small, since the first run on a machine waits for the measurement at its start.
    """
    x, weight = torch.ones(256, 768), torch.ones(768, 768)
    low, low_weight = x.bfloat16(), weight.bfloat16()

    def in_float32() -> Any:
        if choice().onednn:
            return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        return torch.nn.functional.linear(x, weight)

    return _ratio(in_float32, lambda: torch.nn.functional.linear(low, low_weight))


def _ratio(first: Callable[[], Any], second: Callable[[], Any]) -> float:
    """Measure the speed of `second` as a multiple of `first`: the best of eight, in turns, so that load slows both."""
    _, seconds = _clock()
    first_takes, second_takes = [], []
    with torch.inference_mode():
        for _ in range(8):
            began = seconds()
            first()
            between = seconds()
            second()
            first_takes.append(between - began)
            second_takes.append(seconds() - between)
    return min(first_takes) / min(second_takes)


def _clock() -> tuple[str, Callable[[], float]]:
    """Name and function of the clock that times products: the processor time of all threads, if it is fine enough.

    On a busy machine, a product of some milliseconds waits for other processes, which does not make its kernel slow. By
    wall-clock time, wrong kernels were chosen for good.
    """
    if time.get_clock_info("process_time").resolution <= FINE:
        return "processor time", time.process_time
    return "time", time.perf_counter
