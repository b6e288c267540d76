"""`layer_stats`: moments put together from parts equal numpy's of the whole, on made-up vectors and on a real run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import actkit
from actkit.analysis import layer_stats as layer_stats_module
from actkit.analysis.layer_stats import Moments, layer_stats
from actkit.runs.reader import Floats
from actkit.schemas import arrow_schema, vector_type


def of_parts(parts: list[Floats]) -> Moments:
    merged = Moments()
    for part in parts:
        merged = merged.merged(Moments.of(part))
    return merged


def check(moments: Moments, vectors: Floats) -> None:
    """Equal to numpy over all vectors at once, in float64, to 1e-12 of the values' own scale."""
    values = vectors.astype(np.float64)
    scale = float(np.abs(values).max())
    assert (moments.n_positions, moments.n) == (len(values), values.size)
    assert (moments.low, moments.high) == (values.min(), values.max())
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-12 * scale)
    assert moments.m2 / moments.n == pytest.approx(values.var(), rel=1e-12, abs=1e-12 * scale**2)
    assert moments.norm_sum == pytest.approx(np.linalg.norm(values, axis=1).sum(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    width=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    offset=st.sampled_from([0.0, 1.0, -300.0]),
)
def test_moments_of_any_split_equal_numpys_of_the_whole(
    seed: int, n: int, width: int, cuts: list[int], offset: float
) -> None:
    """Whichever way the rows fall into shards, empty ones included."""
    vectors = np.random.default_rng(seed).normal(offset, 3.0, (n, width)).astype(np.float32)
    check(of_parts(np.split(vectors, sorted(min(cut, n) for cut in cuts))), vectors)


def test_order_and_grouping_of_merges_do_not_matter() -> None:
    vectors = np.random.default_rng(1).normal(5.0, 2.0, (40, 7)).astype(np.float32)
    first, second, third = (Moments.of(part) for part in np.split(vectors, [3, 20]))
    check(first.merged(second.merged(third)), vectors)
    check(third.merged(first).merged(second), vectors)


def test_batch_means_far_apart_count_in_the_spread() -> None:
    """TRAPS 36: the mean of batch variances is 1 here and the variance of batch means 100 or so; the truth is both."""
    random = np.random.default_rng(2)
    parts = [random.normal(mean, 1.0, (50, 8)).astype(np.float32) for mean in (-10.0, 10.0, -10.0, 10.0)]
    whole = np.concatenate(parts)
    moments = of_parts(parts)
    check(moments, whole)
    variance = moments.m2 / moments.n
    assert variance == pytest.approx(101, rel=0.05)
    assert np.mean([part.astype(np.float64).var() for part in parts]) < 0.02 * variance
    assert np.var([part.astype(np.float64).mean() for part in parts]) < 0.995 * variance


def test_equal_batch_means_leave_the_spread_within_batches() -> None:
    """TRAPS 36 the other way round: unit-variance data, of which the variance of batch means is 0.01 at most."""
    parts = np.split(np.random.default_rng(3).normal(0.0, 1.0, (400, 16)).astype(np.float32), 40)
    moments = of_parts(parts)
    check(moments, np.concatenate(parts))
    assert moments.m2 / moments.n == pytest.approx(1.0, rel=0.05)
    assert np.var([part.mean() for part in parts]) < 0.05


def test_a_small_spread_on_a_large_mean_survives() -> None:
    """Sums of squares in float32 would leave nothing of a spread of 1 around 10,000."""
    vectors = np.random.default_rng(4).normal(1e4, 1.0, (300, 16)).astype(np.float32)
    moments = of_parts(np.split(vectors, 30))
    assert moments.m2 / moments.n == pytest.approx(vectors.astype(np.float64).var(), rel=1e-9)


def test_moments_of_nothing_change_nothing() -> None:
    empty = Moments.of(np.zeros((0, 5), dtype=np.float32))
    some = Moments.of(np.arange(10, dtype=np.float32).reshape(2, 5))
    assert empty == Moments() == empty.merged(Moments())
    assert some.merged(empty) == some
    assert empty.merged(some).m2 == some.m2 and empty.merged(some).low == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of a few prompts, in more than one shard."""
    prompts = ("One two three.", "The river runs to the sea, and the sea is not full.", "Four", "A <|end|> inside")
    return actkit.run_capture(
        actkit.CaptureSpec(prompts),
        actkit.DenseSpec(
            actkit.ModelSpec("tiny", device="cpu"),
            actkit.OutputSpec(tmp_path_factory.mktemp("stats") / "run"),
            hook_points=("hook_resid_post", "blocks.2.hook_mlp_out"),
            batch=actkit.BatchSpec(shard_sequences=2),
        ),
    ).path


def test_the_table_equals_numpy_over_the_activations(finished: Path) -> None:
    """With and without special tokens, for every hook point, over all shards."""
    assert len(list((finished / "activations").glob("*.parquet"))) == 2
    keys = ["sequence_id", "position"]
    special = pd.read_parquet(finished / "tokens").set_index(keys)["is_special"]
    rows = pd.read_parquet(finished / "activations")
    rows["special"] = special.loc[list(map(tuple, rows[keys].to_numpy()))].to_numpy()
    table = pd.read_parquet(finished / "layer_stats")
    assert len(table) == 2 * rows["hook_point"].nunique() == 10
    for _, stats in table.iterrows():
        here = rows[rows["hook_point"] == stats["hook_point"]]
        assert set(here["layer"]) == {stats["layer"]}
        here = here if stats["special_tokens"] else here[~here["special"]]
        values = np.stack(here["activation"].to_list()).astype(np.float64)
        assert stats["n_positions"] == len(values)
        expected = {
            "mean": values.mean(),
            "std": values.std(),
            "mean_norm": np.linalg.norm(values, axis=1).mean(),
            "min": values.min(),
            "max": values.max(),
        }
        assert stats[list(expected)].to_dict() == pytest.approx(expected, rel=1e-10)


def test_special_tokens_change_the_figures(finished: Path) -> None:
    """TRAPS 18: each prompt has its BOS, and one an <|end|> typed inside; without them the mean norm differs."""
    table = pd.read_parquet(finished / "layer_stats")
    table = table[table["hook_point"] == "blocks.3.hook_resid_post"].set_index("special_tokens")
    assert table.loc[True, "n_positions"] - table.loc[False, "n_positions"] == 5
    ratio = table.loc[True, "mean_norm"] / table.loc[False, "mean_norm"]
    assert abs(ratio - 1) > 0.01


def test_a_sink_token_swamps_only_the_row_that_counts_it(tmp_path: Path) -> None:
    """A made-up run in which BOS has a norm of 10,000 and everything else one of 1."""
    vectors = np.eye(4, dtype=np.float32)
    vectors[0] *= 1e4
    n = len(vectors)
    columns = {"sequence_id": [0] * n, "position": list(range(n))}
    tokens = {name: [None] * n for name in arrow_schema("tokens").names}
    tokens |= {**columns, "is_special": [True, False, False, False]}
    schema = arrow_schema("activations", vector_type(4, "float32"))
    rows = {**columns, "layer": [0] * n, "hook_point": ["blocks.0.hook_resid_post"] * n, "activation": list(vectors)}
    for name, table in (
        ("tokens", pa.table(tokens, schema=arrow_schema("tokens"))),
        ("activations", pa.table(rows, schema=schema)),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-00000.parquet")
    found = {row["special_tokens"]: row for row in layer_stats(tmp_path).to_pylist()}
    assert (found[False]["n_positions"], found[False]["mean_norm"], found[False]["max"]) == (3, 1.0, 1.0)
    assert (found[True]["n_positions"], found[True]["mean_norm"], found[True]["max"]) == (4, 2500.75, 1e4)


@pytest.mark.parametrize("block", [1, 3 * 256, 1 << 20])
def test_the_size_of_a_block_changes_nothing_but_rounding(
    finished: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row at a time, three of them, and a shard at once."""
    expected = pd.read_parquet(finished / "layer_stats")
    monkeypatch.setattr(layer_stats_module, "BLOCK", block)
    pd.testing.assert_frame_equal(layer_stats(finished).to_pandas(), expected, rtol=1e-9, check_dtype=False)


def test_positions_that_are_all_special_have_a_count_and_no_figures(tmp_path: Path) -> None:
    run = actkit.run_capture(
        actkit.CaptureSpec(("Only its BOS is kept.",), positions="0"),
        actkit.DenseSpec(actkit.ModelSpec("tiny", device="cpu"), actkit.OutputSpec(tmp_path / "run"), layers="0"),
    ).path
    found = {row["special_tokens"]: row for row in pq.read_table(run / "layer_stats").to_pylist()}
    assert found[True]["n_positions"] == 1 and found[True]["mean_norm"] > 0
    assert found[False]["n_positions"] == 0
    assert {found[False][name] for name in ("mean", "std", "mean_norm", "min", "max")} == {None}
