"""Tables over the shards are computed again: those that take little always, the others when `deep` asks for them."""

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.verify.tables import ways
from actkit.verify.tables.derived import BY_CHECKSUMS, check_derived, made_alike
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.ways import MOST_DRAWS
from tests.verify.tampering import change_part, put

OF_SHARDS = frozenset(
    (
        "sequences",
        "tokens",
        "activations",
        "pooled_activations",
        "features",
        "pooled_features",
        "rejected",
        "pairs",
        "logprobs",
    )
)


@pytest.fixture
def run(six_runs: Mapping[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda command: Path(shutil.copytree(six_runs[command], tmp_path / command))


def facts_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def checked(run: Path, *, deep: bool = False, **changes: Any) -> Findings:
    findings = Findings(run)
    check_derived(run, facts_of(run) | changes, OF_SHARDS, findings, deep)
    return findings


def said(findings: Findings) -> list[str]:
    return [str(problem) for problem in findings.problems]


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("dpo", []),
        ("capture", []),
        ("sae-extract", ["feature_logits"]),
        ("reward-detect", ["feature_logits", "feature_scores"]),
        ("steer", ["steered_texts", "interventions", "effects", "effect_samples"]),
    ],
)
def test_what_takes_little_is_computed_again_and_the_rest_is_named(
    run: Callable[[str], Path], command: str, left: list[str]
) -> None:
    found = checked(run(command))
    assert said(found) == []
    notes = [note.removeprefix(BY_CHECKSUMS) for note in found.notes]
    names = [name for note in notes for name in note.partition(";")[0].split(", ")]
    assert [name for name in left if name not in names] == [], found.notes
    assert all(note.endswith("--deep computes them again") for note in notes)
    assert bool(notes) == bool(left)
    assert ("derived" in found.checked) == (command != "steer")


@pytest.mark.parametrize(
    ("command", "table", "column"),
    [("dpo", "pair_diffs", "cosine"), ("dpo", "pair_stats", "mean_cosine"), ("capture", "layer_stats", "mean")],
)
def test_a_figure_that_the_shards_do_not_give_is_named(
    run: Callable[[str], Path], command: str, table: str, column: str
) -> None:
    path = run(command)
    part = path / table / "part-00000.parquet"
    names = pq.read_schema(part).names
    column = (
        column
        if column in names
        else next(n for n in names if pa.types.is_floating(pq.read_schema(part).field(n).type))
    )
    change_part(part, put(column, 0, 123.0))
    (says,) = said(checked(path))
    assert says.startswith(f"{table}/part-00000.parquet: {column} is not what the shards give (")


def test_parts_are_as_many_as_the_shards_give(run: Callable[[str], Path]) -> None:
    path = run("capture")
    part = path / "layer_stats" / "part-00000.parquet"
    shutil.copy(part, part.with_name("part-00001.parquet"))
    assert said(checked(path)) == ["layer_stats: more parts than the shards give"]
    for each in (path / "layer_stats").iterdir():
        each.unlink()
    assert said(checked(path)) == ["layer_stats: fewer parts than the shards give"]


def test_a_shard_that_cannot_be_read_is_one_problem(run: Callable[[str], Path]) -> None:
    path = run("capture")
    (path / "activations" / "part-00000.parquet").write_bytes(b"PAR1")
    (says,) = said(checked(path))
    assert says.startswith("layer_stats: cannot be computed again (")


def test_another_versions_tables_are_left_alone(run: Callable[[str], Path]) -> None:
    path = run("capture")
    change_part(path / "layer_stats" / "part-00000.parquet", put("mean", 0, 123.0))
    found = checked(path, versions={"actkit": "0.0.1"}, fingerprint={})
    assert said(found) == []
    assert found.notes == [f"not computed again: layer_stats (the run is of actkit 0.0.1, not {version('actkit')})"]
    assert made_alike({"versions": {"actkit": version("actkit")}}) and not made_alike({})


def test_deep_computes_tests_and_splits_again(run: Callable[[str], Path]) -> None:
    path = run("reward-detect")
    found = checked(path, deep=True)
    assert said(found) == [] and found.notes == [f"{BY_CHECKSUMS}feature_logits"]
    change_part(path / "sequences" / "part-00000.parquet", put("split", 0, lambda old: "x"))
    (says,) = said(checked(path, deep=True))
    assert says.startswith("sequences/part-00000.parquet: split is not what the shards give (")
    assert said(checked(path)) == [], "that takes long"


def test_a_split_where_none_is_made(run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = run("reward-detect")
    monkeypatch.setattr(ways, "feature_split", lambda _run, _settings: iter(()))
    (says,) = said(checked(path, deep=True))
    assert says.startswith(
        "sequences/part-00000.parquet: split is not what the shards give (row 0: discovery, not None"
    )


def test_a_run_that_asks_for_draws_without_end_is_refused(run: Callable[[str], Path]) -> None:
    path = run("reward-detect")
    statistics = facts_of(path)["statistics"]
    statistics["feature_scores"]["draws"] = MOST_DRAWS + 1
    (says,) = [text for text in said(checked(path, deep=True, statistics=statistics)) if "draws" in text]
    assert says == f"feature_scores: cannot be computed again (run.json asks for {MOST_DRAWS + 1:,} draws)"


def test_the_rankings_document_is_that_of_the_table(run: Callable[[str], Path]) -> None:
    path = run("reward-detect")
    document = path / "reward_features.json"
    assert document.exists()
    document.write_text(document.read_text().replace("0.", "1.", 1))
    assert said(checked(path, deep=True)) == ["reward_features.json: not what feature_scores and run.json give"]


def test_directions_of_another_run_are_compared_with_their_checksums(run: Callable[[str], Path]) -> None:
    path = run("concept")
    facts = facts_of(path)
    chosen = {"chosen": {}}
    options = {**facts["options"], "directions": "runs/honesty"}
    tables = {**facts["tables"]}
    found = checked(path, statistics={"projections": chosen}, options=options, tables=tables)
    assert found.notes[0] == "directions are those of runs/honesty, compared with their checksums alone"
    assert not any(", directions" in note or ": directions" in note for note in found.notes[1:])


@pytest.mark.slow
def test_what_run_json_says_was_chosen_is_what_the_tables_give(run: Callable[[str], Path]) -> None:
    path = run("concept")
    assert said(checked(path, deep=True)) == []
    concept = facts_of(path)["concept"]
    for row in concept["chosen"].values():
        row["hook_point"] = "blocks.0.hook_resid_post"
    found = said(checked(path, deep=True, concept=concept))
    assert [text.partition(" is blocks.0.hook_resid_post, not blocks.")[0] for text in found] == [
        f"run.json: concept.chosen.{method}.hook_point" for method in concept["chosen"]
    ]


def test_what_cannot_be_computed_of_one_table_keeps_no_other(run: Callable[[str], Path]) -> None:
    """A draw without end kept the ranking, and all that came after it, from being looked at."""
    path = run("reward-detect")
    statistics = facts_of(path)["statistics"]
    statistics["feature_scores"]["null_draws"] = MOST_DRAWS + 1
    change_part(path / "sequences" / "part-00000.parquet", put("split", 0, lambda old: "x"))
    (path / "reward_features.json").write_text("{}")
    split, draws, ranking = said(checked(path, deep=True, statistics=statistics))
    assert split.startswith("sequences/part-00000.parquet: split is not") and draws.startswith("feature_scores: cannot")
    assert ranking == "reward_features.json: not what feature_scores and run.json give"
