"""How a run is cut into shards changes no table that is computed at its end, and ends none of them."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actkit.analysis.concepts.concept import concept_tables
from actkit.analysis.concepts.projections import projections
from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, score_features
from actkit.analysis.layer_stats import layer_stats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.analysis.steering.tables import steering_tables
from actkit.cli.app import main
from actkit.runs.facts import facts_of
from tests.analysis.shards import recut, whole

Tables = Iterator[tuple[str, pa.Table]]
SAE = ("--layer", "2")
SETTINGS = ScoreSettings(draws=200, null_draws=50)
LAYOUTS = 3
WHO = ("The king", "A sailor", "My aunt", "The fox", "Her brother")
WHAT = ("ate", "sang", "ran home", "slept", "wept")


def _statistics(run: Path, saes: list[dict[str, Any]]) -> Tables:
    for sae in saes:
        for table in feature_stats(run, sae["name"], sae["d_sae"]):
            yield "feature_stats", table


def _scores(run: Path, saes: list[dict[str, Any]]) -> Tables:
    asked = [ScoredSae(sae["name"], sae["d_sae"], sae["hook_point"]) for sae in saes]
    table, about = score_features(run, asked, SETTINGS)
    yield "feature_scores", table
    yield "about", pa.table({"text": [json.dumps(_rounded(about), sort_keys=True)]})


def _concept(run: Path, saes: list[dict[str, Any]]) -> Tables:
    report: dict[str, Any] = {}
    yield from concept_tables(run, True, 0, report)
    yield from _scores(run, saes)


def _pairs(run: Path, _saes: list[dict[str, Any]]) -> Tables:
    diffs = list(pair_diffs(run))
    yield "pair_diffs", pa.concat_tables(diffs)
    yield "pair_stats", pair_stats(diffs)
    yield "layer_stats", layer_stats(run)


def _layers(run: Path, _saes: list[dict[str, Any]]) -> Tables:
    yield "layer_stats", layer_stats(run)


FINISH: dict[str, Callable[[Path, list[dict[str, Any]]], Tables]] = {
    "dpo": _pairs,
    "capture": _layers,
    "concept": _concept,
    "feature-dataset": _statistics,
    "reward-detect": _scores,
}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def _input(command: str, folder: Path) -> list[str | Path]:
    """The command's arguments: some 50 records, of which several are rejected, hold equal texts or are very short."""
    texts = [f"{who} {what} and was {how}." for who in WHO for what in WHAT for how in ("glad", "angry")]
    records: list[Any] = [{"text": text, "n": number} for number, text in enumerate(texts)]
    options: list[str | Path] = [*SAE]
    if command == "capture":
        records, options = (
            [{"prompt": text} for text in [*texts[:20], "", "a"]],
            ["--positions", "all", "--layers", "1,2"],
        )
    elif command == "dpo":
        records = [
            {"prompt": "Say it.", "chosen": text, "rejected": other}
            for text, other in zip(texts, reversed(texts), strict=True)
        ]
        records[3], options = {"prompt": "Say it.", "chosen": "a", "rejected": ""}, ["--layers", "2"]
    elif command == "concept":
        stems = [f"{who} {what}" for who in WHO for what in WHAT]
        records = [{"positive": f"{stem}, how happy.", "negative": f"{stem}, how sad.", "stem": stem} for stem in stems]
        options += ["--layers", "1,2", "--positions", "all", "--no-chat"]
    elif command == "reward-detect":
        labels = ("positive", "negative")
        records = [{**record, "feedback": labels[record["n"] % 2]} for record in records]
        records[10:10] = [
            {**record, "feedback": "neutral"} for record in records[:8]
        ]  # a run of texts that no test is of
        records += records[:6]
    else:
        records += [{"text": ". ".join(texts[:8])}, {"text": ""}, *records[:6]]
        options += ["--context-size", "24"]
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return [file, *options]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def run(command: str) -> Path:
        if command not in made:
            folder = tmp_path_factory.mktemp(command)
            with pytest.raises(SystemExit) as done:
                main([command, *map(str, _input(command, folder)), "-o", str(folder / "run"), "-q", "--device", "cpu"])
            assert done.value.code in (0, None)
            made[command] = folder / "run"
        return made[command]

    return run


def _layouts(n: int) -> Iterator[list[int]]:
    """Where shards end: every record its own, some in between without any, and at random."""
    yield list(range(n + 1))
    rng = np.random.default_rng(0)
    for _ in range(LAYOUTS):
        yield [0, *sorted(rng.integers(0, n + 1, rng.integers(1, 9)).tolist()), n]


@pytest.mark.slow
@pytest.mark.parametrize("command", FINISH)
def test_no_layout_of_shards_changes_what_is_computed_at_the_end(
    finished: Callable[[str], Path], tmp_path: Path, command: str
) -> None:
    run = finished(command)
    saes = facts_of(run).get("saes", [])
    n = int(np.max(whole(run, "sequences", ["record_id"])["record_id"].to_numpy())) + 1
    expected = _joined(FINISH[command](recut(run, tmp_path / "whole", [0, n]), saes))
    for number, ends in enumerate(_layouts(n)):
        found = _joined(FINISH[command](recut(run, tmp_path / str(number), ends), saes))
        assert found.keys() == expected.keys()
        for name, table in expected.items():
            _assert_equal(found[name].to_pylist(), table.to_pylist(), f"{name} of shards {ends}")


def _projected(run: Path, facts: dict[str, Any], of: Path) -> Tables:
    (run / "directions").symlink_to(of / "directions")
    table = pa.concat_tables(projections(run, facts["concept"]["chosen"]))
    yield "projections", table.sort_by([(name, "ascending") for name in ("method", "sequence_id", "position")])


def _steered(run: Path, facts: dict[str, Any], of: Path) -> Tables:
    report: dict[str, Any] = {}
    yield from steering_tables(
        run, whole(of, "interventions").to_pylist(), **facts["statistics"]["steering_tables"], report=report
    )
    yield "about", pa.table({"text": [json.dumps(_rounded(report), sort_keys=True)]})


def _features(run: Path, facts: dict[str, Any], _of: Path) -> Tables:
    yield from _statistics(run, facts["saes"])
    for sae in facts["saes"]:
        for groups in feature_positions(run, sae["name"], sae["d_sae"], run):
            yield "feature_positions", pa.concat_tables(groups.values())


OF_SIX: dict[str, Callable[[Path, dict[str, Any], Path], Tables]] = {
    "concept": _projected,
    "sae-extract": _features,
    "feature-dataset": _features,
    "steer": _steered,
}


@pytest.mark.slow
@pytest.mark.parametrize("command", OF_SIX)
def test_nor_what_is_made_of_directions_of_features_and_of_steering(
    six_runs: Mapping[str, Path], tmp_path: Path, command: str
) -> None:
    run = six_runs[command]
    facts: dict[str, Any] = dict(facts_of(run))
    n = int(np.max(whole(run, "sequences", ["record_id"])["record_id"].to_numpy())) + 1
    expected = _joined(OF_SIX[command](recut(run, tmp_path / "whole", [0, n]), facts, run))
    assert all(map(len, expected.values()))
    for number, ends in enumerate(_layouts(n)):
        found = _joined(OF_SIX[command](recut(run, tmp_path / str(number), ends), facts, run))
        for name, table in expected.items():
            _assert_equal(found[name].to_pylist(), table.to_pylist(), f"{name} of shards {ends}")


def _joined(tables: Tables) -> dict[str, pa.Table]:
    found: dict[str, list[pa.Table]] = {}
    for name, table in tables:
        found.setdefault(name, []).append(table)
    return {name: pa.concat_tables(some) for name, some in found.items()}


def _assert_equal(found: Any, expected: Any, what: str) -> None:
    """Equal but for the order in which numbers were added up."""
    if isinstance(expected, float) and isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7, nan_ok=True), what
    elif isinstance(expected, list):
        assert len(found) == len(expected), what
        for mine, other in zip(found, expected, strict=True):
            _assert_equal(mine, other, what)
    elif isinstance(expected, dict):
        for key, value in expected.items():
            _assert_equal(found[key], value, f"{what}, {key}")
    else:
        assert found == expected, what
