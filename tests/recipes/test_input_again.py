"""`verify --recompute` reads a run's input again where it is what it was; else a note says why it did not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actkit
from actkit.config import ModelSpec
from actkit.recipes.input_again import check_input
from actkit.runs.facts import facts_of
from actkit.verify.recompute.run import RecomputeSpec
from actkit.verify.tables.findings import Findings
from tests.verify.tampering import change_part, put

PAIRS = [
    {"prompt": "What is red?", "chosen": "A rose is.", "rejected": "I do not know."},
    {"prompt": "And blue?", "chosen": "The sea is.", "rejected": "The sea, and more."},
    {"prompt": "And green?"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, one of them rejected, and the run of them beside it."""
    folder = tmp_path_factory.mktemp("again")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    dense = actkit.DenseSpec(ModelSpec(device="cpu"), actkit.OutputSpec(folder / "run"), layers="1")
    actkit.run_dpo(actkit.DpoSpec(str(folder / "pairs.jsonl")), dense)
    return folder


def found(folder: Path, **options: Any) -> Findings:
    """What is found where the run was asked for otherwise."""
    facts = facts_of(folder / "run")
    findings = Findings(folder / "run")
    check_input(folder / "run", {**facts, "options": {**facts["options"], **options}}, RecomputeSpec(1), findings)
    return findings


def test_a_run_is_what_its_input_gives(made: Path) -> None:
    for path in ("pairs.jsonl", "pair?.jsonl"):
        findings = found(made, pairs=str(made / path))
        assert not findings.problems and not findings.notes and findings.checked["derived"] > 0


@pytest.mark.parametrize(
    ("table", "column", "new"), [("sequences", "line", 7), ("rejected", "reason", "x"), ("tokens", "role", "user")]
)
def test_what_it_does_not_give_is_named(made: Path, table: str, column: str, new: Any, tmp_path: Path) -> None:
    part = made / "run" / table / "part-00000.parquet"
    before = part.read_bytes()
    change_part(part, put(column, 0, lambda _old: new))
    problems = list(map(str, found(made).problems))
    part.write_bytes(before)
    assert problems and all(table in problem and column in problem for problem in problems)


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (lambda _: "-", "it came through standard input"),
        (lambda folder: str(folder / "gone.jsonl"), "gone.jsonl is not here"),
        (lambda folder: str(folder / "other.jsonl"), "it is not what it was when the run was made"),
    ],
    ids=["stdin", "gone", "other"],
)
def test_another_input_or_none_is_no_fault_of_the_run(made: Path, pairs: Callable[[Path], str], why: str) -> None:
    (made / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS[::-1]))
    findings = found(made, pairs=pairs(made))
    assert not findings.problems
    (note,) = findings.notes
    assert note.startswith("the input was not read again: ") and note.endswith(why)
