"""Models, SAEs, configurations and runs of others' making: a sentence or a result, in bounded time and memory.

Nothing outside of a folder is read, and no escape sequence reaches the terminal.
"""

import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from actkit.cli.app import main
from tests.command_line import Run
from tests.fuzz.calls import cases, wrong_with
from tests.fuzz.damage import no_hang

MODULES = ("model_cases", "sae_cases", "yaml_cases")


@pytest.mark.parametrize("module", MODULES)
def test_what_somebody_else_made_ends_in_a_sentence(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    """A handful of cases, in this process."""
    monkeypatch.chdir(tmp_path)
    made = importlib.import_module(f"tests.fuzz.{module}")
    made.warm(main)
    for number in range(6):
        steps, arguments, leak = made.case(Path(), number)
        with no_hang():
            found = actkit(*arguments)
        call = {"number": number, "status": found.status, "err": found.err, "leak": leak and found.status == 0}
        assert wrong_with(call) is None, (steps, call)


@pytest.mark.slow
@pytest.mark.parametrize("module", [*MODULES, "run_cases", "look_cases"])
def test_what_thousands_made_ends_in_a_sentence(module: str, tmp_path: Path) -> None:
    """2,000 cases, the same ones each time, in processes that are bounded and watched; ACTKIT_CASES makes it fewer."""
    ends, wrong = Counter[str](), []
    for case in cases(f"tests.fuzz.{module}", tmp_path):
        ends[str(case["status"])] += 1
        what = wrong_with(case)
        if what is not None:
            wrong.append((what, case["number"], case.get("steps"), case["err"][-400:]))
    sys.stdout.write(f"{module}: {ends.total():,} cases, exit status {dict(ends)}\n")
    assert not wrong, f"{len(wrong)} of {ends.total()}: {wrong[:5]}"
