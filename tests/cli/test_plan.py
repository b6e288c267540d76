"""`--plan`: what it says before is what the run has afterwards, and nothing is loaded or written for it."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from rich.console import Console

from actkit.analysis.concepts import contrast
from actkit.backends import describe, load, weight_bytes
from actkit.backends import hugging_face as backend
from actkit.cli.app import main
from actkit.cli.screen.dry_run import ranges, show_plan
from actkit.config import ModelSpec
from actkit.hooks import parse_hook_points
from actkit.pipeline import dry_run

DATA = Path(__file__).parents[1] / "data"
Call = Callable[..., str]


class Usage(NamedTuple):
    """What shutil.disk_usage returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def actkit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command line in an empty directory; returns what it prints on standard output."""
    monkeypatch.chdir(tmp_path)
    samples = [{"prompt": f"Question {at}?", "response": f" Answer {at}."} for at in range(5)]
    texts = [{"text": f"Sentence {at} is here.", "label": at % 2} for at in range(12)]
    for name, rows in (("samples", [*samples, {"prompt": 3}]), ("texts", texts)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def call(*arguments: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        found = capsys.readouterr()
        assert (ended.value.code or 0) == status, found.err
        return found.out if status == 0 else found.err

    return call


COMMANDS = {
    "dpo": ["dpo", str(DATA / "pairs.jsonl"), "--shard-sequences", "50"],
    "capture": ["capture", "-p", "One.", "-p", "Two words.", "--positions", "last", "--store-dtype", "float16"],
    "concept": ["concept", "honesty", "--max-samples", "12"],
    "sae-extract": ["sae-extract", "samples.jsonl", "--target-layer", "2", "--save-all-tokens", "--top-k", "7"],
    "feature-dataset": ["feature-dataset", "texts.jsonl", "--target-layer", "2", "--top-k", "5"],
    "reward-detect": ["reward-detect", "texts.jsonl", "--target-layer", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_run_is_as_planned(actkit: Call, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(Path.cwd().rglob("*"))
    with monkeypatch.context() as patched:
        patched.setattr(backend, "_from_safetensors", lambda *_: pytest.fail("the weights were loaded"))
        plan = json.loads(actkit(*COMMANDS[command], "--plan", "--json", "-o", "x"))
    assert sorted(Path.cwd().rglob("*")) == before
    actkit(*COMMANDS[command], "-o", "x", "-q")
    facts = json.loads(Path("x/run.json").read_text(encoding="utf-8"))
    counts = plan["counts"]
    for name in ("read", "written", "rejected", "truncated", "sequences", "tokens"):
        assert counts[name] == facts["counts"][name]
    assert plan["rejected_reasons"] == facts["rejected_reasons"]
    assert counts["shards"] == facts["tables"]["sequences"]["parts"]
    assert set(plan["tables"]) <= set(facts["tables"])
    assert {"sequences", "tokens", "rejected"} < set(plan["tables"])
    for name, planned in plan["tables"].items():
        assert planned["rows"] == facts["tables"][name]["rows"], name
        written = facts["tables"][name]["bytes"]
        metadata = 12_000 * facts["tables"][name]["parts"]
        if planned["at_most"]:
            assert written <= planned["bytes"] + metadata
        elif planned["bytes"] is not None:
            assert abs(planned["bytes"] - written) <= 0.05 * written + metadata, name
    vectors = "activations" if "activations" in facts["tables"] else "features"
    if vectors in facts["tables"]:
        stored = pd.read_parquet(Path("x") / vectors, columns=["sequence_id", "position"]).drop_duplicates()
        assert counts["kept"] == len(stored)
    example = plan["example"]
    sequences = pd.read_parquet("x/sequences").set_index("sequence_id")
    row = sequences[~sequences.index.isin(sequences["parent_id"].dropna())].iloc[0]
    assert example["text"] == row["text"] and len(example["token_ids"]) == row["n_tokens"]
    path = [row.name] if pd.isna(row["parent_id"]) else [int(row["parent_id"]), row.name]
    tokens = pd.read_parquet("x/tokens")
    tokens = tokens[tokens["sequence_id"].isin(path)].sort_values("position")
    assert example["token_ids"] == tokens["token_id"].tolist() and example["tokens"] == tokens["token"].tolist()
    if vectors in facts["tables"]:
        stored = stored[stored["sequence_id"].isin(path)]
        assert example["positions"] == sorted(stored["position"])


def test_it_is_drawn_with_the_ids_and_positions_of_the_first_example(actkit: Call) -> None:
    shown = actkit(*COMMANDS["sae-extract"][:-3], "--plan")
    assert "5 of 6 records" in shown and "1 rejected: not text" in shown and "in all" in shown
    ids = json.loads(actkit(*COMMANDS["sae-extract"][:-3], "--plan", "--json"))["example"]["token_ids"]
    assert f"token ids: {' '.join(str(number) for number in ids)}" in shown
    assert "reads position 7" in shown and "┃ ·A" in shown
    assert "pooled_features not counted" in actkit(*COMMANDS["reward-detect"], "--plan")


def test_too_little_room_is_said_before(actkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 1000))
    shown = actkit(*COMMANDS["dpo"], "--plan", "-o", "deep/down/x")
    assert "warning: the run takes about" in shown and "1,000 are free" in shown
    assert not Path("deep").exists()


def test_standard_input_can_be_planned(actkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One.\n\nTwo.\n")))
    counts = json.loads(actkit("capture", "-", "--plan", "--json"))["counts"]
    assert (counts["read"], counts["written"], counts["rejected"]) == (3, 2, 1)


def test_records_that_are_no_use_and_a_run_in_the_way_are_errors_as_in_a_run(actkit: Call) -> None:
    Path("bad.jsonl").write_text('{"prompt": 3}\n', encoding="utf-8")
    assert "nothing was kept of 1 record: " in actkit("sae-extract", "bad.jsonl", "--plan", status=1)
    actkit("capture", "-p", "x", "-o", "x", "-q")
    assert "x exists already" in actkit("capture", "-p", "x", "-o", "x", "--plan", status=1)


@pytest.mark.parametrize("layers", ["0", "3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_take_what_is_said(layers: str, dtype: str) -> None:
    description = describe(ModelSpec("tiny", device="cpu", dtype=dtype))
    points = parse_hook_points(["hook_resid_post"], layers, description.n_layers)
    loaded = sum(
        parameter.numel() * parameter.element_size() for parameter in load(description, points).module.parameters()
    )
    assert weight_bytes(description, points) == loaded
    assert loaded < 30e6 and next(load(description, points).module.parameters()).dtype == getattr(torch, dtype)


WIDTH, MLP, WORDS = 192, 512, 4096
"""Of `tiny`, whose heads are as wide together as the residual stream; its output layer is its embedding."""


@pytest.mark.parametrize(
    ("quantize", "dtype", "a_matrix"),
    [
        ("8bit", "bfloat16", lambda rows, columns: rows * columns + rows * 4),
        ("4bit", "float32", lambda rows, columns: rows * columns // 2 + rows * columns // 64 * 4 + 64),
    ],
)
def test_quantized_weights_take_what_is_counted_by_hand(
    quantize: str, dtype: str, a_matrix: Callable[[int, int], int]
) -> None:
    """bitsandbytes itself was measured to take exactly this, codes and scales included; embeddings stay as they are."""
    described = describe(ModelSpec("tiny", device="cpu", dtype=dtype))
    block = 4 * a_matrix(WIDTH, WIDTH) + 2 * a_matrix(MLP, WIDTH) + a_matrix(WIDTH, MLP)
    a_number = {"bfloat16": 2, "float32": 4}[dtype]
    rest = (WORDS * WIDTH + (2 * 2 + 1) * WIDTH) * a_number
    quantized = replace(described, spec=replace(described.spec, quantize=quantize))
    points = parse_hook_points(["hook_resid_post"], "1", described.n_layers)
    assert weight_bytes(quantized, points) == 2 * block + rest
    assert weight_bytes(quantized, points) < weight_bytes(described, points)


def test_a_plan_says_that_weights_are_quantized(actkit: Call) -> None:
    described = describe(ModelSpec("tiny", device="cpu"))
    assert "quantize" not in dry_run._about(described)
    quantized = replace(described, spec=replace(described.spec, quantize="4bit"))
    facts = json.loads(actkit("capture", "-p", "One.", "--plan", "--json"))
    drawn = io.StringIO()
    show_plan({**facts, "model": dry_run._about(quantized)}, Console(file=drawn, width=200))
    assert "with tiny (float32, 4bit, cpu):" in drawn.getvalue()


@pytest.mark.parametrize(
    ("positions", "shown"),
    [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2, 3, 9], "0, 2-3, 9"), (list(range(0, 20, 2)), "0, 2, 4, 6, 8, 10, …")],
)
def test_positions_in_short(positions: list[int], shown: str) -> None:
    assert ranges(positions) == shown


def test_temporary_files_at_the_end_are_stated_and_counted(actkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on what fires is unknown; what is in memory takes nothing."""
    samples = ["sae-extract", "samples.jsonl", "--target-layer", "2", "--top-k", "7", "--plan", "--json", "-o", "x"]
    found = json.loads(actkit(*samples))
    assert found["temporary_bytes"] == 5 * (7 * 8 + 20), "8 bytes a feature, 20 a token"
    corpus = ["feature-dataset", "texts.jsonl", "--by-line", "--target-layer", "2", "--plan", "--json", "-o", "x"]
    assert json.loads(actkit(*corpus))["temporary_bytes"] is None
    limited = json.loads(actkit(*corpus, "--top-k", "3"))
    assert limited["temporary_bytes"] > (3 * 8 + 20) * limited["counts"]["kept"]
    concept = ["concept", "honesty", "--max-samples", "12", "--layers", "2", "--plan", "--json", "-o", "x"]
    assert json.loads(actkit(*concept))["temporary_bytes"] == 0
    monkeypatch.setattr(contrast, "IN_MEMORY", 100)
    large = json.loads(actkit(*concept))
    assert large["temporary_bytes"] == large["counts"]["sequences"] * 192 * 4
    between = Usage(10**12, 0, large["bytes"] + large["temporary_bytes"] - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: between)
    (warning,) = json.loads(actkit(*concept))["warnings"]
    assert "with its temporary files" in warning
    assert "temporary files at the end: unknown" in actkit(*corpus[:-3], "-o", "x")
