"""`pair_diffs` and `pair_stats`: what they say of a real run equals what pandas and numpy make of its tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import actkit
from actkit.analysis import pair_vectors
from actkit.analysis.pair_diffs import MEASURES, pair_diffs
from actkit.analysis.pair_vectors import pairs_of
from actkit.runs.reader import is_special, parts, rows_of, special_keys

PAIRS = Path(__file__).parents[1] / "data" / "pairs.jsonl"
PREFIX = [
    {"instruction": "Name a fruit.", "chosen": "An apple", "rejected": "An apple tree in a field"},
    {"instruction": "Name a tree.", "chosen": "The old oak behind the barn", "rejected": "The old oak"},
]


def run(out: Path, positions: Any, lines: list[str], chat: bool | None = None, shard: int = 4096) -> Path:
    """A run of `dpo` with the bundled model."""
    source = out.with_suffix(".jsonl")
    source.write_text("\n".join(lines), encoding="utf-8")
    return actkit.run_dpo(
        actkit.DpoSpec(str(source), positions=positions, chat=chat),
        actkit.DenseSpec(
            actkit.ModelSpec("tiny", device="cpu"),
            actkit.OutputSpec(out),
            layers="1,-1",
            hook_points=("hook_resid_post", "hook_mlp_out"),
            batch=actkit.BatchSpec(shard_sequences=shard),
        ),
    ).path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair_diffs")


@pytest.fixture(scope="module", params=["all", "from-divergence", "divergence", "prefixes"])
def finished(request: pytest.FixtureRequest, folder: Path) -> Path:
    """The first ten demo pairs in each mode, several shards each; and pairs of which one side is a strict prefix."""
    if request.param == "prefixes":
        return run(folder / "prefixes", "all", [json.dumps(pair) for pair in PREFIX], chat=False)
    return run(folder / request.param, request.param, PAIRS.read_text(encoding="utf-8").splitlines()[:10], shard=9)


def cosine(first: Any, second: Any) -> float:
    return float(np.dot(first / np.linalg.norm(first), second / np.linalg.norm(second)))


def expected_diffs(finished: Path) -> pd.DataFrame:
    """The table anew: every kept row joined to its record and side, then one group a pair and hook point."""
    rows = pd.read_parquet(finished / "activations")
    sequences = pd.read_parquet(finished / "sequences")[["sequence_id", "record_id", "side"]]
    rows = rows.merge(sequences, on="sequence_id").merge(pd.read_parquet(finished / "pairs"), on="record_id")
    rows = rows.merge(pd.read_parquet(finished / "tokens")[["sequence_id", "position", "role"]])
    rows["activation"] = [np.asarray(vector, dtype=np.float64) for vector in rows["activation"]]
    found = []
    for (record, layer, point), here in rows.groupby(["record_id", "layer", "hook_point"]):
        expected: dict[str, Any] = {"record_id": record, "layer": layer, "hook_point": point}
        at, mean = {}, {}
        for side in ("chosen", "rejected"):
            own = here[here["side"].isin(["shared", side])]
            said = (own["position"] >= own[f"{side}_response_start"]) & (own["role"] == "assistant")
            response = own[said]["activation"]
            expected[f"{side}_response_positions"] = len(response)
            if len(response):
                mean[side] = np.mean(np.stack(response.to_list()), axis=0)
            divergence = own[(own["side"] == side) & (own["position"] == own[f"{side}_divergence"])]["activation"]
            if len(divergence):
                at[side] = divergence.iloc[0]
        for name, both in (("divergence", at), ("response", mean)):
            if len(both) == 2:
                expected[f"{name}_diff_norm"] = np.linalg.norm(both["chosen"] - both["rejected"])
                expected[f"{name}_cosine"] = cosine(both["chosen"], both["rejected"])
            else:
                expected[f"{name}_diff_norm"] = expected[f"{name}_cosine"] = np.nan
        found.append(expected)
    return pd.DataFrame(found).sort_values(["record_id", "layer", "hook_point"], ignore_index=True)


@pytest.mark.quick(1)
def test_pair_diffs_equal_an_independent_computation(finished: Path) -> None:
    found = pd.read_parquet(finished / "pair_diffs")
    expected = expected_diffs(finished)
    assert len(found) == len(pd.read_parquet(finished / "pairs")) * 4
    pd.testing.assert_frame_equal(found, expected[found.columns], check_dtype=False, rtol=1e-9)


def one_by_one(finished: Path) -> list[dict[str, Any]]:
    """The rows, a pair and a hook point after another: sums in order of position, norms and products of vectors."""
    found = []
    for part in parts(finished, "activations"):
        pairs, special = pairs_of(finished, part), special_keys(finished, part)
        for rows in rows_of(part):
            plain = ~is_special(rows, special)
            for at, record in enumerate(pairs.record_ids.tolist()):
                row = {"record_id": record, "layer": rows.layer, "hook_point": rows.hook_point}
                vectors: dict[str, list[Any]] = {"divergence": [], "response": []}
                for side in ("chosen", "rejected"):
                    own = rows.sequence_ids == pairs.sequences[side][at]
                    vectors["divergence"].append(rows.activations[own & (rows.positions == pairs.divergence[side][at])])
                    first, last = (edge[at] for edge in pairs.response[side])
                    answer = (rows.positions >= first) & (rows.positions < last) & plain
                    shared = answer & (rows.sequence_ids == pairs.sequences["shared"][at])
                    sums = [rows.activations[some].sum(axis=0, dtype=np.float64) for some in (shared, answer & own)]
                    row[f"{side}_response_positions"] = n = int(shared.sum() + (answer & own).sum())
                    vectors["response"].append([(sums[0] + sums[1]) / n] if n else [])
                for name, (chosen, rejected) in vectors.items():
                    if len(chosen) and len(rejected):
                        one, other = (np.asarray(side[0], dtype=np.float64) for side in (chosen, rejected))
                        row[f"{name}_diff_norm"] = np.linalg.norm(one - other)
                        row[f"{name}_cosine"] = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
                found.append(row)
    return sorted(found, key=lambda row: (row["record_id"], row["layer"], row["hook_point"]))


@pytest.mark.quick(1)
@pytest.mark.parametrize("block", [1 << 20, 192 * 30])
def test_all_pairs_at_once_are_what_one_after_another_is(
    finished: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_vectors, "BLOCK", block)
    found = [row for table in pair_diffs(finished) for row in table.to_pylist()]
    expected = [{name: row.get(name) for name in found[0]} for row in one_by_one(finished)]
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):  # the same to the last bit where norms take the same kernel
        close = {
            name: pytest.approx(value, rel=1e-13) if name in MEASURES and value is not None else value
            for name, value in wanted.items()
        }
        assert row == close


def test_pair_stats_equal_pandas_over_pair_diffs(finished: Path) -> None:
    diffs = pd.read_parquet(finished / "pair_diffs")
    stats = pd.read_parquet(finished / "pair_stats")
    assert len(stats) == 4 * len(MEASURES)
    for _, row in stats.iterrows():
        values = diffs[(diffs["hook_point"] == row["hook_point"])][row["measure"]].dropna()
        expected = values.agg(["mean", "std", "median", "min", "max"])
        assert set(diffs[diffs["hook_point"] == row["hook_point"]]["layer"]) == {row["layer"]}
        assert row["n_pairs"] == len(values)
        found = row[expected.index.to_list()].astype(float)
        pd.testing.assert_series_equal(found, expected, check_names=False, rtol=1e-9)


def test_a_part_of_each_shard_and_every_pair_once(folder: Path, finished: Path) -> None:
    pairs = pd.read_parquet(finished / "pairs")["record_id"].tolist()
    diffs = pd.read_parquet(finished / "pair_diffs")
    assert diffs.groupby("hook_point")["record_id"].apply(list).map(lambda ids: ids == pairs).all()
    shards = len(list((finished / "activations").glob("*.parquet")))
    assert shards == len(list((finished / "pair_diffs").glob("*.parquet")))
    assert shards > 1 or finished.name == "prefixes"


@pytest.mark.slow
def test_the_modes_agree_where_they_keep_the_same_positions(folder: Path) -> None:
    """The divergence is kept by every mode; with all of the response kept, its mean is over the shared part too."""
    lines = PAIRS.read_text(encoding="utf-8").splitlines()[:3]
    tables = {
        mode: pd.read_parquet(run(folder / f"agree-{mode}", mode, lines) / "pair_diffs")
        for mode in ("all", "from-divergence", "divergence")
    }
    whole = tables["all"]
    for mode in ("from-divergence", "divergence"):
        np.testing.assert_allclose(tables[mode]["divergence_diff_norm"], whole["divergence_diff_norm"], rtol=1e-4)
        np.testing.assert_allclose(tables[mode]["divergence_cosine"], whole["divergence_cosine"], rtol=1e-4)
    positions = [tables[mode]["chosen_response_positions"] for mode in ("all", "from-divergence", "divergence")]
    assert (positions[0] > positions[1]).any() and (positions[1] > positions[2]).any()
    assert (positions[2] == 1).all()
    # One position a side: the mean over it is the activation at the divergence itself.
    np.testing.assert_allclose(
        tables["divergence"]["response_diff_norm"], tables["divergence"]["divergence_diff_norm"], rtol=1e-12
    )


def test_a_side_that_stops_has_no_divergence_but_a_response(folder: Path) -> None:
    """A strict prefix has no token there: nulls, not zeros, and the statistics leave the pair out."""
    finished = run(folder / "stops", "all", [json.dumps(pair) for pair in PREFIX], chat=False)
    pairs = pd.read_parquet(finished / "pairs")
    assert pairs["status"].tolist() == ["chosen_is_prefix", "rejected_is_prefix"]
    assert pairs["chosen_divergence"].isna().tolist() == [True, False]
    assert pairs["rejected_divergence"].isna().tolist() == [False, True]
    diffs = pd.read_parquet(finished / "pair_diffs")
    assert diffs[["divergence_diff_norm", "divergence_cosine"]].isna().to_numpy().all()
    assert (
        (diffs[["response_diff_norm", "chosen_response_positions", "rejected_response_positions"]] > 0).to_numpy().all()
    )
    stats = pd.read_parquet(finished / "pair_stats").set_index("measure")
    none = stats.loc[["divergence_diff_norm", "divergence_cosine"]]
    assert (none["n_pairs"] == 0).all() and none[["mean", "std", "median", "min", "max"]].isna().to_numpy().all()
    assert (stats.loc["response_cosine", "n_pairs"] == 2).all()


@pytest.mark.parametrize("chat", [True, False])
def test_the_response_mean_is_over_the_answers_own_tokens(folder: Path, chat: bool) -> None:
    """What the template puts after an answer is the same on both sides: it would pull the two means together."""
    finished = run(folder / f"own-{chat}", "all", [json.dumps(pair) for pair in PREFIX], chat=chat)
    diffs = pd.read_parquet(finished / "pair_diffs")
    diffs = diffs[diffs["hook_point"] == "blocks.1.hook_resid_post"].set_index("record_id")
    tokens, sequences = pd.read_parquet(finished / "tokens"), pd.read_parquet(finished / "sequences")
    pairs = pd.read_parquet(finished / "pairs").set_index("record_id")
    tokens = tokens.merge(sequences[["sequence_id", "record_id", "side", "text"]], on="sequence_id")
    rows = pd.read_parquet(finished / "activations", filters=[("layer", "==", 1)])
    vectors = {
        tuple(key): np.asarray(vector, float) for *key, vector in rows[["sequence_id", "position", "activation"]].values
    }
    for record, pair in enumerate(PREFIX):
        means = []
        for side in ("chosen", "rejected"):
            own = tokens[(tokens["record_id"] == record) & tokens["side"].isin(["shared", side])]
            own = own[own["position"] < pairs.loc[record, f"{side}_length"]].sort_values("position")
            answer = own[own["position"] >= pairs.loc[record, f"{side}_response_start"]]
            answer = answer[answer["token"] != "<|end|>"]
            assert "".join(answer["token"]).strip() == pair[side]
            assert diffs.loc[record, f"{side}_response_positions"] == len(answer)
            means.append(
                np.mean([vectors[tuple(key)] for key in answer[["sequence_id", "position"]].to_numpy()], axis=0)
            )
        expected = np.linalg.norm(means[0] - means[1])
        np.testing.assert_allclose(diffs.loc[record, "response_diff_norm"], expected, rtol=1e-9)


def test_one_pair_has_no_spread(folder: Path) -> None:
    finished = run(folder / "one", "divergence", PAIRS.read_text(encoding="utf-8").splitlines()[:1])
    stats = pd.read_parquet(finished / "pair_stats")
    assert (stats["n_pairs"] == 1).all() and stats["std"].isna().all()
    assert (stats["mean"] == stats["median"]).all() and (stats["min"] == stats["max"]).all()
