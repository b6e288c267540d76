"""`import actkit` is light, and every name is where the lazy table says."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import actkit

HEAVY = {"torch", "transformers", "transformer_lens", "sae_lens", "pyarrow", "pandas", "numpy", "scipy", "safetensors"}


@pytest.mark.parametrize("line", ["import actkit", "import actkit; dir(actkit)", "import actkit; actkit.ActkitError"])
def test_importing_actkit_loads_nothing_heavy(line: str) -> None:
    program = f"{line}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "actkit" in loaded and not loaded & HEAVY


def test_type_checkers_and_the_lazy_table_know_the_same_names() -> None:
    tree = ast.parse(Path(actkit.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {
        (alias.asname, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown == set(actkit._WHERE.items())
    assert sorted(actkit._WHERE) == actkit.__all__ == dir(actkit)


def test_every_function_of_the_package_has_an_example() -> None:
    own = [getattr(actkit, name) for name, module in actkit._WHERE.items() if module.startswith("actkit.api.")]
    callables = [public for public in own if not isinstance(public, type)]
    assert len(callables) >= 10
    for function in callables:
        assert "\n    " in (inspect.getdoc(function) or "") and "actkit." in inspect.getdoc(function), function
