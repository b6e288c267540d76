"""The lines of the page about several machines: with `sbatch` played by a script, on a Ray cluster of this machine."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.command_line import Run
from tests.engines.runs import connected_to_ray, parts
from tests.pages import arguments_of, shell_lines

PLAYED = """
import json, sys
with open("asked", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print(41)
"""
FEWER = {"-n 16": "-n 2", "-n 4 ": "-n 2 ", "--workers 8": "--workers 2"}
"""What this machine has."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sbatch`, which writes down what it is asked, and `actkit` are on the path; few files are in the folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", PLAYED), ("actkit", "from actkit.cli import main\nmain()\n")):
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Is {n} even?", "chosen": f"Yes, {n}.", "rejected": f"No, {n}."} for n in range(12)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def ray_at() -> Iterator[None]:
    """A Ray cluster on this machine, to which every address leads."""
    with connected_to_ray():
        yield


def lines(*wanted: str) -> list[str]:
    """The page's lines that have one of these words, as far as this machine goes."""
    found = [line for line in shell_lines("scale") if arguments_of(line) and any(word in line for word in wanted)]
    for many, few in FEWER.items():
        found = [line.replace(many, few) for line in found]
    return found


def test_every_line_is_in_one_of_these_tests() -> None:
    kinds = (("--shard", "merge"), ("sbatch",), ("--engine",))
    assert sum(len(lines(*kind)) for kind in kinds) == len(
        [line for line in shell_lines("scale") if arguments_of(line)]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("programs")
def test_shares_and_their_merge(actkit: Run) -> None:
    assert actkit("dpo", "pairs.jsonl", "-o", "single", "-q").status == 0
    first, second, merge, auto = lines("--shard", "merge")
    others = [first.replace("0/4", f"{number}/4") for number in (2, 3)]
    for line in (first, second, *others, merge):
        found = actkit(*arguments_of(line))
        assert found.status == 0, (line, found.err)
    assert parts("runs/x") == parts("single")
    shutil.rmtree("runs/x")
    # A process a GPU; where there is none, their number has to be said.
    found = actkit(*arguments_of(auto), *(() if torch.cuda.is_available() else ("--workers", "2")))
    assert found.status == 0 and parts("runs/x") == parts("single"), found.err


@pytest.mark.slow
@pytest.mark.usefixtures("programs")
def test_scripts_for_slurm_pasted_into_a_shell(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert actkit("dpo", "pairs.jsonl", "-o", "single", "-q").status == 0
    for line in lines("sbatch"):
        Path("asked").unlink(missing_ok=True)
        shutil.rmtree("runs", ignore_errors=True)
        subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, capture_output=True, timeout=170)
        array, after = map(json.loads, Path("asked").read_text(encoding="utf-8").splitlines())
        each, merge = (shlex.split(job[-1].removeprefix("--wrap=")) for job in (array, after))
        for task in (0, 1):
            with pytest.MonkeyPatch.context() as patch:
                for name, value in (("ID", task), ("COUNT", 2), ("MIN", 0), ("MAX", 1)):
                    patch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
                found = actkit(*each[1:])
                assert found.status == 0, (line, found.err)
        assert actkit(*merge[1:]).status == 0
        assert parts("runs/x") == parts("single"), line


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.usefixtures("programs", "ray_at")
def test_workers_of_a_cluster(actkit: Run) -> None:
    assert actkit("dpo", "pairs.jsonl", "-o", "single", "-q").status == 0
    for line in lines("--engine"):
        shutil.rmtree("runs", ignore_errors=True)
        found = actkit(*arguments_of(line))
        assert found.status == 0 and parts("runs/x") == parts("single"), (line, found.err)
