"""float32 on a CPU: the same command gives the same bytes, in this process or in another."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actkit.cli.app import main

DATA = Path(__file__).parent / "data"
STORIES = DATA / "naughty_strings.json"
COMMANDS = {
    "dpo": ["dpo", str(DATA / "pairs.jsonl"), "--shard-sequences", "50"],
    "capture": ["capture", str(STORIES), "--target-layer", "2"],
    "sae-extract": ["sae-extract", str(DATA / "pairs.jsonl"), "--prompt-field", "instruction", "--target-layer", "2"],
    "feature-dataset": ["feature-dataset", str(DATA / "udhr"), "--top-k", "20"],
    "concept": ["concept", "honesty", "--max-samples", "48", "--layers", "1", "--target-layer", "2"],
    "reward-detect": ["reward-detect", "--use-example-data", "--draws", "200"],
}


def digests(run: Path) -> dict[str, str]:
    """Table file → sha256; run.json and what is made of it have times and the run's own name in them."""
    files = sorted(run.rglob("*.parquet"))
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [command if command == "dpo" else pytest.param(command, marks=pytest.mark.slow) for command in COMMANDS],
)
def test_another_process_writes_the_same_bytes(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*COMMANDS[command], "--device", "cpu", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(tmp_path / "here")])
    assert not ended.value.code, capsys.readouterr().err
    # Another hash seed: no order may come from a set.
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    there = [sys.executable, "-m", "actkit", *arguments, "--out", str(tmp_path / "there")]
    subprocess.run(there, check=True, env=environment, capture_output=True)
    first, second = digests(tmp_path / "here"), digests(tmp_path / "there")
    assert len(first) >= 3
    assert first == second
