"""Active features in order of feature: all of them once, with what is left out marked, however they are cut up."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis import entries_by_feature, feature_tally, ranges_of_chunks
from actkit.analysis import entries_by_feature as module
from actkit.analysis.entries_by_feature import EntriesByFeature, TokensAtRandom, priority_of
from actkit.analysis.feature_stats import feature_stats
from actkit.analysis.feature_tally import tally
from actkit.errors import RunError
from tests.benchmarks.statistics import SAE, made_up

D_SAE = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.benchmarks.statistics.SHARD", 512)
        return made_up(tmp_path_factory.mktemp("entries") / "run", 1500, D_SAE, 6)


@pytest.mark.quick(2)
@pytest.mark.parametrize(("chunk", "most", "fan"), [(1 << 20, 1 << 20, 9), (700, 50, 5), (700, 50, 512), (1, 7, 512)])
def test_every_entry_is_there_once_whatever_the_chunks_and_ranges(
    run: Path, chunk: int, most: int, fan: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges_of_chunks, "FAN", fan)
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "RANGE", most)
    expected = sorted(
        (feature, row["sequence_id"], row["position"], value)
        for part in sorted((run / "features").iterdir())
        for row in pq.read_table(part, partitioning=None).to_pylist()
        for feature, value in zip(row["feature_ids"], row["feature_activations"], strict=True)
    )
    with closing(EntriesByFeature(run, SAE, D_SAE, tmp_path)) as entries:
        ranges = list(entries.ranges())
    found = [
        row
        for span in ranges
        for row in zip(
            *(getattr(span, name).tolist() for name in ("features", "sequences", "positions", "values")),
            strict=True,
        )
    ]
    assert found == expected and all(len(span.features) <= most for span in ranges)
    plain = [row for row in expected if row[2]]
    assert entries.active.tolist() == np.bincount([row[0] for row in plain], minlength=D_SAE).tolist()
    assert entries.largest.tolist() == [
        max([row[3] for row in plain if row[0] == feature], default=0) for feature in range(D_SAE)
    ]


def test_statistics_do_not_depend_on_chunks_and_ranges(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature of more than a range has its strongest and its random tokens from all of its slices."""
    whole = [row for table in feature_stats(run, SAE, D_SAE) for row in table.to_pylist()]
    monkeypatch.setattr(module, "CHUNK", 100)
    monkeypatch.setattr(module, "RANGE", 40)
    cut = [row for table in feature_stats(run, SAE, D_SAE) for row in table.to_pylist()]
    for mine, other in zip(whole, cut, strict=True):
        assert other.pop("mean") == pytest.approx(mine.pop("mean"), rel=1e-12)
        assert other == mine
    assert max(row["n_active"] for row in whole) > 120


def test_the_strongest_are_the_same_however_many_tokens_are_looked_at_first(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all that was looked at is of too few texts, more is looked at: of equal texts only one is ever found."""
    with closing(EntriesByFeature(run, SAE, D_SAE, tmp_path)) as entries:
        monkeypatch.setattr(feature_tally, "digests_of", lambda texts: np.zeros((len(texts), 2), dtype=np.uint64))
        few = tally(entries, 4).strongest
        assert (few.activations[:, 1] == 0).all() and (few.activations[:, 0] == entries.largest).all()
        monkeypatch.undo()
        expected = tally(entries, 4).strongest
        monkeypatch.setattr(feature_tally, "ENOUGH", 1 / 14)
        found = tally(entries, 4).strongest
    for name in ("activations", "sequence_ids", "positions"):
        assert (getattr(found, name) == getattr(expected, name)).all()
    assert (expected.activations > 0).sum() > 3 * D_SAE


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_an_activation_that_is_not_above_zero_is_a_damaged_run(run: Path, wrong: float, tmp_path: Path) -> None:
    damaged = _damaged(run, tmp_path, "feature_activations", pa.list_(pa.float32()), wrong)
    with pytest.raises(RunError, match=re.escape(f"an activation of {SAE} is not a number above zero")):
        EntriesByFeature(damaged, SAE, D_SAE, tmp_path)


@pytest.mark.parametrize("wrong", [D_SAE, -1])
def test_a_feature_that_the_sae_does_not_have_is_a_damaged_run(run: Path, wrong: int, tmp_path: Path) -> None:
    damaged = _damaged(run, tmp_path, "feature_ids", pa.list_(pa.int32()), wrong)
    with pytest.raises(RunError, match=re.escape(f"a feature of {SAE} is not among its {D_SAE}")):
        EntriesByFeature(damaged, SAE, D_SAE, tmp_path)


def _damaged(run: Path, tmp_path: Path, column: str, kind: pa.DataType, wrong: float) -> Path:
    """A part of the run in which the last entry of each token is something else."""
    damaged = tmp_path / "run"
    for name in ("features", "tokens", "sequences"):
        (damaged / name).mkdir(parents=True)
        part = sorted((run / name).iterdir())[0]
        table = pq.read_table(part, partitioning=None)
        if name == "features":
            rows = [[*row[:-1], wrong] for row in table[column].to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(rows, kind))
        pq.write_table(table, damaged / name / part.name)
    return damaged


@pytest.mark.parametrize("per_token", [1, 9])
def test_tokens_at_random_are_those_of_all_at_once(
    per_token: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many will be looked at is known at the end; what comes first is not missing then."""
    monkeypatch.setattr(entries_by_feature, "CO_TOKENS", 40)
    monkeypatch.setattr(entries_by_feature, "CO_PAIRS", 2500)
    positions, n = np.arange(1800), 1800
    lengths = np.where(positions < 300, 3 * per_token, per_token)
    ids = np.arange(lengths.sum(), dtype=np.int32)
    own = positions % 7 > 0
    ends = np.cumsum(lengths)
    with closing(module.Spill(tmp_path)) as file:
        found = TokensAtRandom(file)
        for first in range(0, n, 100):
            here = slice(first, first + 100)
            entries = slice(int(ends[first] - lengths[first]), int(ends[first + 99]))
            priority = priority_of(np.zeros(100, dtype=np.int64), positions[here])
            found.add(ids[entries], lengths[here], priority, own[here])
        chosen, counts = found.chosen()
    share = min(40, 2500 / (lengths[own].sum() / own.sum()) ** 2) / own.sum()
    wanted = np.flatnonzero(own & (priority_of(np.zeros(n, dtype=np.int64), positions) / (1 << 53) < share))
    assert counts.tolist() == lengths[wanted].tolist() and len(wanted) > 3
    assert (
        chosen.tolist()
        == np.concatenate([ids[ends[feature] - lengths[feature] : ends[feature]] for feature in wanted]).tolist()
    )
