"""What the README shows works as it is shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import actkit
from actkit.cli.app import app
from actkit.schemas import TABLES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_first_lines_are_the_two_commands() -> None:
    assert [line.split("#")[0].strip() for line in blocks("bash")[0].splitlines()] == ["make demo", "make test"]


def test_every_command_and_every_table_is_named() -> None:
    for command in app.registered_commands:
        assert f"actkit {command.name}" in README
    for table in TABLES:
        assert f"`{table}" in README, table


def test_the_changelog_is_the_last_section() -> None:
    assert re.findall(r"^## (.*)$", README, flags=re.MULTILINE)[-1] == "Changelog"


def test_every_target_of_make_help_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("help", "install", "demo", "test", "test-all", "lint", "types", "imports", "check", "bench"):
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    actkit.run_dpo(
        actkit.DpoSpec(str(ROOT / "tests/data/pairs.jsonl")),
        actkit.DenseSpec(actkit.ModelSpec("tiny", device="cpu"), actkit.OutputSpec(Path("runs/pairs"))),
    )
    ran: dict[str, object] = {}
    Path("stories").mkdir()
    Path("stories/one.md").write_bytes(b"Once upon a time\r\nthere was a hare.\n")
    cpu = actkit.ModelSpec("tiny", device="cpu")
    actkit.run_feature_dataset(
        actkit.FeatureDatasetSpec("stories/*.md"),
        actkit.SparseSpec(
            cpu, [actkit.SaeSpec("tiny", "blocks.2.hook_resid_post")], actkit.OutputSpec(Path("runs/stories"))
        ),
    )
    assert len(blocks("python")) == 8
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), ran)
    chosen = ran["chosen"]
    assert chosen["position"].tolist() == list(range(len(chosen)))  # type: ignore[index,call-overload]
    printed = capsys.readouterr().out
    assert "'written': 2" in printed
    assert "['', 'On', 'ce', ' upon', ' a', ' time', '\\r', '\\n']" in printed


def test_the_shell_lines_of_capture_work(tmp_path: Path) -> None:
    """`cat prompts.txt | actkit capture - … && python -c …` prints the first rows of the table."""
    block = next(
        block for block in blocks("bash") if "prompts.txt | actkit capture - --layers" in block and "printf" in block
    )
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["runs/last", "runs/x"]
    assert "sequence_id" in done.stdout
    assert (tmp_path / "runs/x/run.json").exists()


def test_every_name_of_the_library_is_there() -> None:
    for name in actkit.__all__:
        assert getattr(actkit, name) is not None
    assert sorted(actkit.__all__) == dir(actkit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = actkit.nothing
