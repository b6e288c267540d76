"""A finished run of each command, in several shards, and some bad records; made once, and copied to be changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actkit.cli.app import main

PAIRS = Path(__file__).parents[1] / "data" / "pairs.jsonl"
TEXTS = [" ".join(f"word {n}," for _ in range(1 + n % 7)) for n in range(9)]
SHARDS = ("--shard-sequences", "6", "--batch-tokens", "64", "-q")
COMMANDS: dict[str, tuple[str, ...]] = {
    "pairs": ("dpo", str(PAIRS), "--max-samples", "5", "--layers", "0,2"),
    "vectors": ("capture", "in.jsonl", "--hook-point", "resid_post", "--hook-point", "mlp_out", "--layers", "1"),
    "lists": ("capture", "in.jsonl", "--hook-point", "resid_post", "--hook-point", "attn.hook_z", "--layers", "1"),
    "features": ("sae-extract", "in.jsonl", "--save-all-tokens", "--top-k", "5"),
    "chunks": ("feature-dataset", "in.jsonl", "--context-size", "12", "--activation-threshold", "0.5"),
    "pooled": ("reward-detect", "in.jsonl", "--draws", "100"),
    "directions": (
        "concept",
        "honesty",
        "--max-samples",
        "36",
        "--positions",
        "all",
        *("--layers", "2", "--sae-release", "tiny"),
    ),
    "steered": ("steer", "directions", "--budget", "4", "--random", "8", "--show", "1"),
}


def write_input(folder: Path) -> None:
    """The records that the commands read, one of them bad."""
    rows = [
        json.dumps({"prompt": text, "text": text, "response": "yes", "label": ("good", "bad")[n % 2]})
        for n, text in enumerate(TEXTS)
    ]
    (folder / "in.jsonl").write_text("\n".join([*rows[:4], "{", *rows[4:]]) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name → its finished run."""
    folder = tmp_path_factory.mktemp("runs")
    write_input(folder)

    def made(name: str) -> Path:
        if name == "steered":
            made("directions")
        if not (folder / name).exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                with pytest.raises(SystemExit) as caught:
                    main([*COMMANDS[name], *SHARDS, "-o", name])
            assert caught.value.code == 0
        return folder / name

    return made


@pytest.fixture
def copy(finished: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Name → a copy of its run, for this test alone."""
    return lambda name: Path(shutil.copytree(finished(name), tmp_path / name))
