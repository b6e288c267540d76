"""Faster kernels give the same numbers to rounding, are taken where they fit, and leave nothing behind."""

import ast
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import kernels
from actkit.backends.kernel_choice import Choice
from actkit.backends.kernels import fast_modules, fast_products
from tests.conftest import relative_error


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the products that went through oneDNN, which is taken whatever the processor."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(kernels, "choice", lambda: Choice(True, ""))
    found: list[torch.Size] = []
    real = kernels._fits

    def fits(x: Any, weight: Any, bias: Any) -> bool:
        fit = real(x, weight, bias)
        if fit:
            found.append(x.shape)
        return fit

    monkeypatch.setattr(kernels, "_fits", fits)
    return found


W, B = torch.randn(24, 40), torch.randn(40)
PRODUCTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "linear": lambda x: torch.nn.functional.linear(x, W.T, B),
    "linear without bias": lambda x: torch.nn.functional.linear(x, W.T.contiguous()),
    "addmm": lambda x: torch.addmm(B, x.flatten(0, -2), W),
    "matmul": lambda x: torch.matmul(x, W),
    "at": lambda x: x @ W + B,
    "mm": lambda x: x.flatten(0, -2).mm(W),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24), (1, 24)])
def test_products_are_the_same_to_rounding(name: str, shape: tuple[int, ...], calls: list[torch.Size]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    expected = PRODUCTS[name](x.double().float())
    with torch.inference_mode(), fast_products():
        found = PRODUCTS[name](x)
    assert len(calls) == 1
    assert relative_error(found, expected) <= 2e-6


@pytest.mark.parametrize("x", [torch.randn(4, 24)[:, ::2], torch.randn(12, 4).T, torch.randn(1, 12).expand(4, 12)])
def test_rows_in_any_layout(x: torch.Tensor, calls: list[torch.Size]) -> None:
    weight = torch.randn(12, 9)
    with torch.inference_mode(), fast_products():
        found = x @ weight
    assert calls and relative_error(found, x @ weight) <= 2e-6


def test_what_does_not_fit_goes_its_usual_way(calls: list[torch.Size]) -> None:
    """Other dtypes, sparse rows, several matrices, nothing at all, a vector; and whatever needs a gradient."""
    torch.manual_seed(0)
    stacked, sparse = torch.randn(2, 3, 24), torch.relu(torch.randn(5, 24) - 1).to_sparse()
    grown = torch.nn.Linear(24, 2)
    with fast_products():
        assert (torch.randn(3, 24).double() @ W.double()).dtype == torch.float64
        assert (torch.randn(3, 24).bfloat16() @ W.bfloat16()).dtype == torch.bfloat16
        assert torch.equal(stacked @ stacked.transpose(1, 2), torch.bmm(stacked, stacked.transpose(1, 2)))
        assert relative_error(sparse @ W, sparse.to_dense() @ W) <= 1e-6
        calls.clear()
        assert (torch.zeros(0, 24) @ W).shape == (0, 40)
        assert (torch.randn(24) @ W).shape == (40,)
        assert torch.addmm(B, torch.randn(2, 24), W, beta=0.5).shape == (2, 40)
        grown(torch.randn(3, 24)).sum().backward()
    assert not calls
    assert grown.weight.grad is not None


def test_wrong_shapes_are_torchs_own_error(calls: list[torch.Size]) -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"), fast_products():
        torch.randn(3, 5) @ W


def test_on_other_processors_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "choice", lambda: Choice(False, ""))
    x = torch.randn(30, 24)
    with fast_products():
        assert torch.equal(x @ W, torch.matmul(x, W))
        assert not torch.overrides._get_current_function_mode_stack()


def test_gelu_by_parts_is_computed_at_once_and_put_back(model_dir: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM
    from transformers.activations import NewGELUActivation

    model = AutoModelForCausalLM.from_pretrained(model_dir("gpt2"))
    parts = [module for module in model.modules() if isinstance(module, NewGELUActivation)]
    x = torch.linspace(-9, 9, 1001)
    expected = parts[0](x)
    with fast_modules(model):
        found, half, at_16 = parts[0](x), parts[0](x.bfloat16()), parts[0](x.half())
        assert all("forward" in vars(part) for part in parts)
    assert relative_error(found, expected) <= 1e-6
    assert torch.equal(found, torch.nn.functional.gelu(x, approximate="tanh"))
    by_parts, exact = parts[0](x.bfloat16()), parts[0](x.bfloat16().double())
    assert (half - exact).abs().max() < (by_parts - exact).abs().max() < 0.1
    assert torch.equal(at_16, parts[0](x.half()))
    assert not any("forward" in vars(part) for part in parts)
    assert torch.equal(parts[0](x), expected)


KEPT = """
import ctypes
from contextlib import suppress
from actkit.cli import main
with suppress(SystemExit):
    main([])
from actkit.backends import kernels
from actkit.backends.kernel_choice import Choice
import torch

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", *"abcdef", "used", "free", "top")]

mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
mallinfo.restype = Info
kernels.choice = lambda: Choice(True, "")
weight, x, used = torch.randn(64, 128), torch.randn(2000, 128), []
with torch.inference_mode(), kernels.fast_products():
    for rows in range(100, 2000, 8):
        torch.nn.functional.linear(x[:rows], weight)
        used.append(mallinfo().used / 2**20)
print(used[-1] - used[20])
"""


@pytest.mark.slow
def test_what_is_compiled_for_shapes_that_do_not_come_again_is_not_kept() -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("memory is read from glibc")
    usual = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    found = subprocess.run([sys.executable, "-c", KEPT], env=usual, check=True, capture_output=True, text=True)
    assert float(found.stdout.split()[-1]) < 5


@pytest.mark.slow
def test_importing_actkit_changes_no_variable_of_the_callers_process() -> None:
    program = """
import os, pkgutil, importlib
before = dict(os.environ)
import actkit
for module in pkgutil.walk_packages(actkit.__path__, "actkit."):
    if not module.name.endswith("__main__") and ".recipe" not in module.name.partition("bundled")[2]:
        importlib.import_module(module.name)
own = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
print(sorted(own))
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    theirs = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR", "TOKENIZERS_PARALLELISM"}
    assert set(ast.literal_eval(found.stdout)) <= theirs
