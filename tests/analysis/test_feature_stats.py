"""`feature_stats`: what brute force over the tables of a real run gives, for every feature, however it was sharded."""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from actkit.analysis import feature_stats as feature_stats_module
from actkit.analysis.feature_stats import CONTEXTS_KEPT, feature_stats
from actkit.config import SaeSpec
from actkit.pipeline.recipe import Finished
from tests.backends.saes.test_sae import saved
from tests.recipes.test_feature_dataset import DATA, SAES, dataset_run

NAMES = {f"tiny/blocks.{layer}.hook_resid_post": d_sae for layer, d_sae in ((1, 3072), (2, 4096))}
SMALL = {"shard_sequences": 9, "batch_tokens": 256}
OPTIONS: dict[str, dict[str, Any]] = {
    "two SAEs": {"saes": SAES},
    "two SAEs, many shards": {"saes": SAES, "batch": SMALL},
    "one SAE": {"saes": SAES[1:]},
    "one SAE, many shards": {"saes": SAES[1:], "batch": SMALL},
    "threshold and top-k": {"saes": SAES[1:], "batch": SMALL, "threshold": 0.7, "top_k": 5},
    "no BOS": {"saes": SAES[1:], "bos": "never"},
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Finished]:
    """Options' name → a run of one corpus: sentences said again and again (so that activations tie), special tokens
    typed inside, records that are rejected."""
    sentences = [
        word for file in ("fra", "spa") for word in (DATA / "udhr" / f"{file}.txt").read_text("utf-8").split(".")
    ]
    records: list[Any] = (
        [sentence.strip() for sentence in sentences] + ["The sea was calm."] * 25 + ["a <|user|> b <|end|> c"]
    )
    records += [". ".join(sentences), "", "The sea was calm. " * 12]
    return cache(lambda name: dataset_run(tmp_path_factory.mktemp("stats"), records, context_size=40, **OPTIONS[name]))


@cache
def rows_of(run: Path) -> list[dict[str, Any]]:
    """The table of a run, which many tests look at."""
    return list(pq.read_table(run / "feature_stats").to_pylist())


def documents_of(sequences: pd.DataFrame) -> dict[int, str]:
    """The documents, put together from their chunks."""
    found: dict[int, str] = {}
    for row in sequences.itertuples():
        found[row.record_id] = found.get(row.record_id, "")[: row.char_offset] + row.text
    return found


def brute_force(run: Path) -> pd.DataFrame:
    """A row for each active feature of each token that is not special, with the text around it in its own chunk."""
    features, tokens, sequences = (pd.read_parquet(run / name) for name in ("features", "tokens", "sequences"))
    rows = features.merge(tokens, on=["sequence_id", "position"], validate="many_to_one")
    rows = rows.merge(sequences[["sequence_id", "record_id", "char_offset", "text"]], on="sequence_id")
    rows = rows[~rows["is_special"]]
    documents = documents_of(sequences)
    end = rows["char_offset"] + rows["text"].str.len()
    spans = list(zip(rows["record_id"], rows["char_offset"], rows["char_start"], rows["char_end"], end, strict=True))
    rows["token"] = [documents[record][a:b] for record, _, a, b, _ in spans]
    rows["before"] = [documents[record][max(first, a - 60) : a] for record, first, a, _, _ in spans]
    rows["after"] = [documents[record][b : min(last, b + 60)] for record, _, _, b, last in spans]
    rows["n_tokens"] = rows.groupby("sae")["position"].transform("size")
    rows = rows.explode(["feature_ids", "feature_activations"]).dropna(subset="feature_ids")
    rows["activation"] = rows["feature_activations"].astype(float)
    return rows.astype({"feature_ids": int})


def strongest_of(rows: pd.DataFrame) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The best token of each text, the earlier one where equal; of the 30 best of these the 20 best that differ."""
    keys, around = ["sae", "feature_ids"], ["before", "token", "after"]
    order = [*keys, "activation", "sequence_id", "position"]
    rows = rows.sort_values(order, ascending=[True, True, False, True, True])
    rows = rows.drop_duplicates([*keys, "text"]).groupby(keys).head(30)
    rows = rows.drop_duplicates([*keys, *around]).groupby(keys).head(20)
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    columns = ["sequence_id", "position", "activation", *around]
    for sae, feature, *values in rows[[*keys, *columns]].itertuples(index=False):
        found.setdefault((sae, feature), []).append(dict(zip(columns, values, strict=True)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_the_table_is_what_brute_force_finds(run_of: Callable[[str], Finished], name: str) -> None:
    finished = run_of(name)
    rows = brute_force(finished.path)
    stats = rows_of(finished.path)
    by_feature = {(stat["sae"], stat["feature_id"]): stat for stat in stats}
    figures = rows.groupby(["sae", "feature_ids"]).agg(
        n=("activation", "size"), mean=("activation", "mean"), max=("activation", "max"), of=("n_tokens", "first")
    )
    strongest = strongest_of(rows)
    assert len(stats) == len(by_feature) and set(figures.index) <= set(by_feature) and len(figures) > 500
    for row in figures.itertuples():
        found = by_feature[row.Index]
        assert found["n_active"] == row.n
        assert found["density"] == pytest.approx(row.n / row.of, rel=1e-12)
        assert found["mean"] == pytest.approx(row.mean, rel=1e-12)
        assert found["max"] == row.max
        assert found["contexts"] == strongest[row.Index]
    for key in set(by_feature) - set(figures.index):
        silent = {"n_active": 0, "density": 0.0, "mean": None, "max": None, "contexts": []}
        silent |= {"histogram": [0] * 40, "quantile_contexts": [[]] * 5, "co_active": None}
        assert by_feature[key] == {"sae": key[0], "feature_id": key[1], "url": None, **silent}
    assert any(len(stat["contexts"]) == CONTEXTS_KEPT == 20 < stat["n_active"] for stat in stats)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_feature_of_every_sae_has_one_row_in_order(run_of: Callable[[str], Finished], name: str) -> None:
    stats = pq.read_table(run_of(name).path / "feature_stats", columns=["sae", "feature_id", "n_active"])
    saes = [f"{sae.release}/{sae.sae_id}" for sae in OPTIONS[name]["saes"]]
    expected = [(sae, feature) for sae in saes for feature in range(NAMES[sae])]
    assert list(zip(stats["sae"].to_pylist(), stats["feature_id"].to_pylist(), strict=True)) == expected
    assert 0 in stats["n_active"].to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one SAE, many shards"])
def test_histograms_are_numpys_and_random_tokens_are_the_features_own(
    run_of: Callable[[str], Finished], name: str
) -> None:
    rows = brute_force(run_of(name).path)
    keys = ["sae", "feature_ids"]
    values = {key: row["activation"].to_numpy() for key, row in rows.groupby(keys)}
    places = {
        key: set(zip(row["sequence_id"], row["position"], row["activation"], row["token"], strict=True))
        for key, row in rows.groupby(keys)
    }
    found = 0
    for row in rows_of(run_of(name).path):
        mine = values.get((row["sae"], row["feature_id"]), np.zeros(0))
        most = mine.max(initial=0)
        assert row["histogram"] == np.histogram(mine, bins=40, range=(0, most or 1))[0].tolist()
        lists = row["quantile_contexts"]
        shown = [
            (token["sequence_id"], token["position"], token["activation"], token["token"])
            for part in lists
            for token in part
        ]
        assert len(lists) == 5 and len(set(shown)) == len(shown) >= min(20, len(mine)) and len(shown) <= 25
        assert set(shown) <= places.get((row["sae"], row["feature_id"]), set())
        assert [context[2] for context in shown] == sorted(context[2] for context in shown)
        if len(mine) > 60:
            found += 1
            assert len(shown) == 25 and {len(part) for part in lists} == {5}
            assert abs((mine < np.median([context[2] for context in shown])).mean() - 0.5) < 0.45
    assert found > 10


@pytest.mark.slow
def test_what_is_active_together_is_counted(run_of: Callable[[str], Finished]) -> None:
    """So few tokens are all looked at."""
    rows = brute_force(run_of("one SAE").path)
    n = rows["n_tokens"].iloc[0]
    tokens = rows.groupby(["sequence_id", "position"]).ngroup()
    x = np.zeros((tokens.max() + 1, 4096), dtype=np.float32)
    x[tokens, rows["feature_ids"]] = 1
    counts, together = x.sum(0), x.T @ x
    known = 0
    for row in rows_of(run_of("one SAE").path):
        feature = row["feature_id"]
        if counts[feature] < 10:
            assert row["co_active"] is None
            continue
        known += 1
        others = together[feature].copy()
        others[feature] = 0
        best = sorted(np.flatnonzero(others).tolist(), key=lambda other: (-others[other], other))[:8]
        assert [partner["feature_id"] for partner in row["co_active"]] == best
        for partner in row["co_active"]:
            share = others[partner["feature_id"]] / counts[feature]
            assert partner["share"] == pytest.approx(share)
            assert partner["lift"] == pytest.approx(share * n / counts[partner["feature_id"]])
    assert known > 50


@pytest.mark.slow
def test_no_two_contexts_are_of_equal_text_and_ties_go_to_the_earlier_sequence(
    run_of: Callable[[str], Finished],
) -> None:
    """25 equal documents count as one; what stands in several documents in the same words is shown once."""
    found = 0
    for row in rows_of(run_of("one SAE").path):
        contexts = row["contexts"]
        assert len({context["sequence_id"] for context in contexts}) == len(contexts)
        assert len({(context["before"], context["token"], context["after"]) for context in contexts}) == len(contexts)
        for before, after in itertools.pairwise(contexts):
            assert before["activation"] >= after["activation"]
            if before["activation"] == after["activation"]:
                found += 1
                assert before["sequence_id"] < after["sequence_id"]
    assert found > 0


@pytest.mark.slow
def test_shards_do_not_change_the_table(run_of: Callable[[str], Finished]) -> None:
    for name in ("one SAE", "two SAEs"):
        whole, parts = run_of(name), run_of(f"{name}, many shards")
        assert whole.facts["tables"]["features"]["parts"] == 1 < 5 < parts.facts["tables"]["features"]["parts"]
        tables = [pq.read_table(run.path / "feature_stats").to_pandas() for run in (whole, parts)]
        assert (tables[0]["n_active"] == tables[1]["n_active"]).all()
        for column in ("density", "mean", "max"):
            assert tables[0][column].tolist() == pytest.approx(tables[1][column].tolist(), rel=1e-5, nan_ok=True)


def test_two_saes_in_one_pass_have_the_rows_they_have_alone(run_of: Callable[[str], Finished]) -> None:
    alone, both = (rows_of(run_of(name).path) for name in ("one SAE", "two SAEs"))
    assert both[NAMES["tiny/blocks.1.hook_resid_post"] :] == alone


def test_special_tokens_are_left_out(run_of: Callable[[str], Finished]) -> None:
    """Neither BOS nor what is typed into a document counts, and none is a context."""
    finished = run_of("two SAEs")
    tokens = pd.read_parquet(finished.path / "tokens")
    special = set(map(tuple, tokens[tokens["is_special"]][["sequence_id", "position"]].to_numpy().tolist()))
    assert len(special) == finished.facts["counts"]["sequences"] + 2
    for row in rows_of(finished.path):
        assert row["n_active"] == pytest.approx(row["density"] * (len(tokens) - len(special)))
        assert not special & {(context["sequence_id"], context["position"]) for context in row["contexts"]}


@pytest.mark.slow
def test_blocks_of_features_make_one_table(run_of: Callable[[str], Finished], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide SAEs are written some features at a time."""
    path, sae = run_of("one SAE").path, "tiny/blocks.2.hook_resid_post"
    whole = [row for table in feature_stats(path, sae, 4096) for row in table.to_pylist()]
    monkeypatch.setattr(feature_stats_module, "BLOCK", 1000)
    parts = list(feature_stats(path, sae, 4096))
    assert [len(part) for part in parts] == [1000, 1000, 1000, 1000, 96]
    assert [row for part in parts for row in part.to_pylist()] == whole
    assert whole == rows_of(path)


def test_a_run_of_special_tokens_only_has_counts_and_no_figures(tmp_path: Path) -> None:
    finished = dataset_run(tmp_path, ["<|user|><|end|>"], SAES[1:])
    stats = pd.read_parquet(finished.path / "feature_stats")
    assert (stats["n_active"] == 0).all() and (stats["density"] == 0).all() and stats["mean"].isna().all()
    features = pd.read_parquet(finished.path / "features")
    assert len(features) == 3 and features["n_active"].sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("sae_id", ["tiny-lm/1-res-demo", None])
def test_features_link_to_neuronpedia_where_the_sae_has_an_id(tmp_path: Path, sae_id: str | None) -> None:
    known = SaeSpec(path=str(saved("standard", tmp_path / "known", d_in=192, d_sae=32, neuronpedia_id=sae_id)))
    finished = dataset_run(tmp_path, ["The sea was calm."], [known, SAES[1]])
    stats = rows_of(finished.path)
    urls = [stat["url"] for stat in stats if stat["sae"] == "known"]
    assert urls == [f"https://neuronpedia.org/{sae_id}/{number}" if sae_id else None for number in range(32)]
    assert {stat["url"] for stat in stats if stat["sae"] != "known"} == {None}
    assert [sae["neuronpedia_id"] for sae in finished.facts["saes"]] == [sae_id, None]
